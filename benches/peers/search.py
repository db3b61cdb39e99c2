"""Exact search beside faiss's IndexFlatIP: 1,000 queries, 200,000 documents, 384 numbers, top 100.

    cargo build --release -p samtone-benches --bin search_speed
    python benches/peers/search.py target/release/search_speed [--threads 2] [--repeat 15]

Both search the same embeddings in memory; the share of hits on which they agree goes to stderr.
Needs faiss-cpu and numpy.
"""

import sys
import tempfile

import turns

parser = turns.parser(__doc__, repeat=15)
parser.add_argument("--queries", type=int, default=1_000)
parser.add_argument("--documents", type=int, default=200_000)
parser.add_argument("--dim", type=int, default=384)
parser.add_argument("-k", type=int, default=100)
options = turns.parse(parser)

import faiss
import numpy as np

faiss.omp_set_num_threads(options.threads)
rng = np.random.default_rng(0)
rows = []
for count in (options.queries, options.documents):
    x = rng.standard_normal((count, options.dim), dtype=np.float32)
    rows.append(x / np.linalg.norm(x, axis=1, keepdims=True))
queries, documents = rows
index = faiss.IndexFlatIP(options.dim)
index.add(documents)
expected = index.search(queries, options.k)[1]

turns.peers("faiss-cpu")
with tempfile.TemporaryDirectory() as folder:
    for name, x in (("q", queries), ("d", documents)):
        x.tofile(f"{folder}/{name}")
    files = (f"{folder}/q", f"{folder}/d")
    samtone = turns.Program(options.program, *files, options.dim, options.k)
    sides = {
        "samtone": samtone,
        "faiss-cpu": lambda: turns.timed(index.search, queries, options.k),
    }
    seconds = turns.take(sides, options.repeat)
    found = [line.split() for line in samtone.end().splitlines()]
sizes = f"{options.queries:,} × {options.documents:,} × {options.dim}"
turns.rows(f"{sizes}, top {options.k}", "f32", seconds)
same = np.mean([len(set(a) & set(map(str, b))) / options.k for a, b in zip(found, expected)])
print(f"{same:.4%} of the hits are the same", file=sys.stderr)
