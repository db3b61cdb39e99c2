"""`samtone index --graph` and searches of it beside the exact search, over made embeddings in clusters; and
of a collection on a server, if one is given.

    cargo build --release -p samtone --features usearch,milvus
    milvus-lite server --data-dir /tmp/milvus --host 127.0.0.1 --max-workers 1
    python benches/peers/index.py target/release/samtone [--rows 100000] [--dim 384] \\
        [--to milvus://127.0.0.1:19530/bench]

Unit rows near 2,000 random centres, and 1,000 queries made alike. Prints, as Markdown, how long the graph
takes and its bytes, and how long the collection; for each `--ef` the recall that `index` measures by 200 of
the queries, and that of all 1,000, with the milliseconds of a query by `search`; and the exact search's.
Milvus Lite builds graphs in the background: a second call finds the collection as it became.
Needs numpy and safetensors.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from made import encoding, near

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("samtone", type=lambda path: str(pathlib.Path(path).resolve()))
parser.add_argument("--rows", type=int, default=100_000)
parser.add_argument("--queries", type=int, default=1_000)
parser.add_argument("--dim", type=int, default=384)
parser.add_argument("--centres", type=int, default=2_000)
parser.add_argument("--noise", type=float, default=0.7, help="length of what is added to a centre")
parser.add_argument("--to", help="the address of a collection, which is made")
parser.add_argument("--ef", default="16,32,64,128,256")
parser.add_argument("--repeat", type=int, default=3)
options = parser.parse_args()


def samtone(*arguments):
    words = [options.samtone, *map(str, arguments), "--format", "json"]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)


def found(path):
    hits = {}
    for line in path.open():
        query, _, document, *_ = line.split()
        hits.setdefault(query, set()).add(document)
    return hits


with tempfile.TemporaryDirectory() as folder:
    home = pathlib.Path(folder)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((options.centres, options.dim), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    encoding(home / "documents", "document", near(options.rows, centres, options.noise, rng))
    encoding(home / "queries", "query", near(options.queries, centres, options.noise, rng))
    measured = ["--documents", home / "documents", "--queries", home / "queries", "--ef", options.ef]
    index = samtone("index", *measured, "--graph")
    graph = index["graph"]

    def search(place, *more):
        """The hits, and the least milliseconds a query of some searches."""
        run, words = home / "run", ["--queries", home / "queries", "--index", place, "-k", 10]
        seconds = [samtone("search", *words, "--out", run, *more)["seconds"] for _ in range(options.repeat)]
        return found(run), 1e3 * min(seconds) / options.queries

    exact, milliseconds = search(home / "documents")
    size = options.rows * options.dim * 4 / 1e6
    print(f"The graph: {index['seconds']:.1f} s, measured; {graph['bytes'] / 1e6:.1f} MB beside {size:.1f} MB of f32.\n")
    searched = [("", home / "documents", graph["recall"])]
    if options.to:
        there = samtone("index", *measured, "--to", options.to)
        name, rate = options.to.partition(":")[0], options.rows / there["seconds"]
        print(f"The collection of {name}: {there['seconds']:.1f} s, not measured; {rate:.0f} documents a second.\n")
        searched.append((f"{name}, ", options.to, there["recall"]))
    print("| search | recall@10, by `index` | recall@10, of all queries | ms/query |\n|---|---:|---:|---:|")
    print(f"| exact | 1 | 1 | {milliseconds:.3f} |")
    for name, place, recalls in searched:
        for measured in recalls:
            hits, milliseconds = search(place, "--ef", measured["ef"])
            recall = sum(len(hits[query] & documents) for query, documents in exact.items()) / (10 * len(exact))
            print(f"| {name}`--ef {measured['ef']}` | {measured['recall']:.4f} | {recall:.4f} | {milliseconds:.3f} |")
    sys.stdout.flush()
