"""Opens a folder that samtone wrote with sentence-transformers and compares embeddings.

    python benches/peers/open_folder.py target/release/samtone MODEL [--side query|document]

MODEL is a one-tower folder, one tower of two (`MODEL/query`), or a router. Prints the largest
difference of any element as JSON and fails above 1e-5. Needs sentence-transformers.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("model")
parser.add_argument("--reader", help="the folder that sentence-transformers opens, if another")
parser.add_argument("--side", choices=["query", "document"], default="document")
parser.add_argument("--tolerance", type=float, default=1e-5)
options = parser.parse_args()

import numpy as np
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

texts = [
    "water",
    "Which river runs through the old town?",
    "The well behind the mill has been dry since the summer before last.",
    "Æther naïve façade 東京 — 42 % of €3.50!",
    " ".join(["the road went on"] * 60),
]
with tempfile.TemporaryDirectory() as folder:
    name = {"query": "queries", "document": "corpus"}[options.side]
    with open(f"{folder}/{name}.jsonl", "w", encoding="utf8") as out:
        for i, text in enumerate(texts):
            out.write(json.dumps({"_id": str(i), "text": text}) + "\n")
    command = [options.program, "encode", "--model", options.model, "--side", options.side]
    command += ["--input", f"{folder}/{name}.jsonl", "--out", f"{folder}/out"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    ours = load_file(f"{folder}/out/embeddings.safetensors")["embeddings"]
model = SentenceTransformer(options.reader or options.model, device="cpu")
encode = {"query": model.encode_query, "document": model.encode_document}[options.side]
difference = float(np.abs(ours - encode(texts)).max())
print(json.dumps({"texts": len(texts), "largest_difference": difference}))
sys.exit(difference >= options.tolerance)
