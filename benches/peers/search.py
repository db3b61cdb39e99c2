"""Exact search beside faiss's IndexFlatIP: 1,000 queries, 200,000 documents, 384 numbers, top 100.

    cargo build --release -p samtone-benches --bin search_speed
    python benches/peers/search.py target/release/search_speed [--threads 2] [--repeat 15]

Both search the same embeddings in turn in one run, so that whatever else the machine does meets
both; medians are printed, and the share of hits on which they agree. Needs faiss-cpu and numpy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # This folder's scripts have the names of packages.
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeat", type=int, default=15)
parser.add_argument("--queries", type=int, default=1_000)
parser.add_argument("--documents", type=int, default=200_000)
parser.add_argument("--dim", type=int, default=384)
parser.add_argument("-k", type=int, default=100)
options = parser.parse_args()
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)

import faiss
import numpy as np

rng = np.random.default_rng(0)
rows = []
for count in (options.queries, options.documents):
    x = rng.standard_normal((count, options.dim), dtype=np.float32)
    rows.append(x / np.linalg.norm(x, axis=1, keepdims=True))
queries, documents = rows
index = faiss.IndexFlatIP(options.dim)
index.add(documents)

with tempfile.TemporaryDirectory() as folder:
    for name, x in (("q", queries), ("d", documents)):
        x.tofile(f"{folder}/{name}")
    ours = subprocess.Popen(
        [options.program, f"{folder}/q", f"{folder}/d", str(options.dim), str(options.k)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    seconds = {"faiss": [], "samtone": []}
    for _ in range(options.repeat):
        start = time.perf_counter()
        _, expected = index.search(queries, options.k)
        seconds["faiss"].append(time.perf_counter() - start)
        ours.stdin.write("\n")
        ours.stdin.flush()
        seconds["samtone"].append(float(ours.stdout.readline()))
    found = [line.split() for line in ours.communicate()[0].splitlines()]

same = np.mean([len(set(a) & set(map(str, b))) / options.k for a, b in zip(found, expected)])
print(f"faiss-cpu {faiss.__version__}, {options.threads} threads, {options.queries} queries, "
      f"{options.documents} documents, {options.dim} numbers, top {options.k}")
gflop = 2e-9 * options.queries * options.documents * options.dim
for name, times in seconds.items():
    print(f"{name:8} median {np.median(times):.3f} s ({gflop / np.median(times):.0f} GFLOP/s), "
          f"best {min(times):.3f} s")
ratios = np.array(seconds["faiss"]) / np.array(seconds["samtone"])
print(f"faiss takes {np.median(ratios):.2f} times as long (median of {options.repeat} pairs); "
      f"{same:.4%} of the hits are the same")
