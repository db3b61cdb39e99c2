"""Every command over a made collection of MS MARCO's size: time and memory beside each other.

    cargo build --release -p samtone
    cargo build --release -p samtone-data --example collection
    python benches/scale.py --folder /large/disk [--scales 0.01,0.1,1] [--only import,lint] [--out FILE]

100 % are 8,841,823 passages, 502,939 training queries with 7 hard negatives each and 6,980 dev queries; it
needs about 60 GB of disk and some hours. `--folder` keeps what was made, and `rows.jsonl`, a line for every
command that ended: what is there already is neither made nor measured again, and the page is written anew
after every command. Only what `--scales` and `--only` name is run.

Memory is twice the most that a command held, read every 20 ms: its own (RssAnon) and that with the mapped
files (VmHWM; ru_maxrss would begin with what this program holds). Encoding is measured on a part of the
passages. Needs numpy for `search`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

PASSAGES = 8_841_823
DIM = 384
# Dev queries of the whole; `search` asks all of them at every scale.
QUERIES = 6_980
# Passages that are encoded, whatever the scale.
ENCODED = 2_000
# Dev queries that are asked both of a tenth and of the whole.
ASKED = 698
ROOT = Path(__file__).resolve().parent.parent
FILES = (
    "collection.tsv queries.train.tsv queries.dev.tsv qrels.train.tsv qrels.dev.tsv"
    " qidpidtriples.train.tsv"
).split()

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--folder", type=Path, required=True)
parser.add_argument("--scales", default="0.01,0.1,1")
parser.add_argument("--only", default="")
parser.add_argument("--samtone", type=Path, default=ROOT / "target/release/samtone")
parser.add_argument("--collection", type=Path, default=ROOT / "target/release/examples/collection")
parser.add_argument("--out", type=Path, default=ROOT / "benches/record/scale.md")
options = parser.parse_args()
SAMTONE = str(options.samtone.resolve())
COLLECTION = str(options.collection.resolve())
ROWS = options.folder / "rows.jsonl"

# A model of MiniLM's shape with random weights; nothing is judged on the way.
TRAINING = """
[data]
train = "data"
dev_split = ""
test_split = ""
token_cache = "tokens"
[train]
steps = 20
batch_size = 32
hard_negatives = 7
memory_gib = 2
checkpoint_every = 10
log_every = 1
"""
# A model that embeds every passage in minutes.
TABLE = """
[model.encoder]
type = "static"
"""


def measured(command, folder):
    """Seconds, and the most memory in bytes: its own and with maps."""
    os.sync()  # so that nobody waits for what others wrote
    start = time.perf_counter()
    log = open(folder / "log.txt", "a")
    print("$", *command, file=log, flush=True)
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    held = {"RssAnon:": 0, "VmHWM:": 0}

    def watch():
        status = Path(f"/proc/{process.pid}/status")
        while process.returncode is None:
            try:
                for name, *value in map(str.split, status.read_text().splitlines()):
                    if name in held:
                        held[name] = max(held[name], int(value[0]) * 1024)
            except (FileNotFoundError, ProcessLookupError):
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode:
        sys.exit(f"failed, see {folder / 'log.txt'}: {' '.join(command)}")
    seconds = time.perf_counter() - start
    return {"s": seconds, "own": held["RssAnon:"], "all": held["VmHWM:"]}


def embeddings(folder, rows, dtype):
    """A folder as `samtone encode` writes it, of random unit rows."""
    import numpy as np

    if folder.exists():
        return
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    kind = {"f32": np.float32, "f16": np.float16, "int8": np.int8}[dtype]
    file = np.lib.format.open_memmap(partial / "embeddings.npy", "w+", kind, (rows, DIM))
    rng = np.random.default_rng(0)
    for start in range(0, rows, 100_000):
        some = rng.standard_normal((min(100_000, rows - start), DIM), dtype=np.float32)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
        if dtype == "int8":
            some = np.clip(np.rint((some + 0.3) / 0.6 * 255) - 128, -128, 127)
        file[start : start + len(some)] = some
    file.flush()
    with open(partial / "ids.txt", "w") as ids:
        ids.writelines(f"{row}\n" for row in range(rows))
    record = {"model": "made", "similarity": "dot", "dim": DIM}
    record["ranges"] = {"low": [-0.3] * DIM, "high": [0.3] * DIM} if dtype == "int8" else {}
    record["ranges"] = record["ranges"] or {"low": [], "high": []}
    (partial / "encode.json").write_text(json.dumps(record))
    partial.rename(folder)


def commands(folder, scale):
    """Name, what must be done before, and the words of each command, in the order in which they are run."""
    samtone = lambda *words: [SAMTONE, *map(str, words)]
    passages = round(PASSAGES * scale)

    def fresh(*names):
        return lambda: [shutil.rmtree(folder / name, ignore_errors=True) for name in names]

    def configured():
        (folder / "train.toml").write_text(TRAINING)
        (folder / "table.toml").write_text(TRAINING.replace("tokens", "words") + TABLE)
        fresh("start", "run", "resumed", "table", "words")()

    def some():
        """The judgments of as many queries at every scale."""
        with open(folder / "data/qrels/dev.tsv") as lines, open(folder / "data/qrels/some.tsv", "w") as out:
            out.writelines(line for _, line in zip(range(1 + ASKED), lines))

    def stopped():
        """A run of 20 steps that was stopped after 10: what it wrote later is gone."""
        fresh("resumed")()
        shutil.copytree(folder / "run", folder / "resumed")
        fresh("resumed/checkpoints/step-20", "resumed/model")()
        (folder / "resumed/summary.json").unlink()

    def part():
        with open(folder / "data/corpus.jsonl") as lines, open(folder / "part.jsonl", "w") as out:
            out.writelines(line for _, line in zip(range(ENCODED), lines))
        fresh("vectors")()

    def vectors(dtype):
        def make():
            embeddings(folder / "asked", QUERIES, "f32")
            embeddings(folder / dtype, passages, dtype)

        return make

    bm25 = ("bm25", "--data", "data", "--split", "dev", "-k", 1000, "--metrics", "mrr@10,recall@1000")
    kept = ("--index", "bm25.index")
    train = ("train", "--config", "train.toml", "--run-dir")
    # Trained at 1 %, used at 10 % too.
    table = folder.parent / "0.01/table/model"
    run = ("--qrels", "data/qrels/dev.tsv", "--metrics", "mrr@10,recall@1000")
    yield "make the collection", fresh("raw"), [COLLECTION, "raw", str(scale)]
    yield "import", fresh("data"), samtone("import", "ms-marco", *(f"raw/{f}" for f in FILES), "--out", "data")
    yield "lint", None, samtone("lint", "data")
    yield "split", fresh("parted"), samtone("split", "data", "--test", "5%", "--out", "parted")
    yield "bm25", None, samtone(*bm25, "--out", "plain.trec")
    yield "bm25, index written", lambda: (folder / "bm25.index").unlink(missing_ok=True), samtone(*bm25, *kept)
    yield "bm25, index kept", None, samtone(*bm25, *kept, "--out", "bm25.trec")
    yield f"bm25, index kept, {ASKED} queries", some, samtone("bm25", "--data", "data", "--split", "some", "-k", 1000, *kept, "--out", "some.trec")
    yield "bm25, other k1", None, samtone(*bm25, "--k1", 1.2, "--out", "other.trec")
    yield "eval", None, samtone("eval", "--run", "bm25.trec", *run)
    yield "compare", None, samtone("compare", "bm25.trec", "other.trec", *run)
    yield "mine by BM25", None, samtone("mine", "--data", "data", "--bm25", *kept, "--count", 7, "--out", "mined.jsonl")
    yield "train, tokenising and one step", configured, samtone(*train, "start", "--set", "train.steps=1")
    yield "plan", None, samtone("plan", "--config", "train.toml")
    yield "train, 20 steps", None, samtone(*train, "run")
    yield "resume, 10 steps", stopped, samtone("train", "--run-dir", "resumed", "--resume")
    yield f"encode {ENCODED:,} passages", part, samtone("encode", "--model", "run/model", "--input", "part.jsonl", "--side", "document", "--out", "vectors")
    for dtype in ("f32", "f16", "int8"):
        yield f"search, {dtype}", vectors(dtype), samtone("search", "--queries", "asked", "--documents", dtype, "-k", 1000, "--out", "found.trec")
    if scale <= 0.01:
        yield "train a table, 20 steps", None, samtone("train", "--config", "table.toml", "--run-dir", "table")
    if scale <= 0.1:
        # Every query beside every passage: at 100 % that is a hundred times a tenth's.
        yield "mine by a table", None, samtone("mine", "--data", "data", "--model", table, "--count", 7, "--out", "mined.jsonl")
        yield "analyze a table", fresh("analysis"), samtone("analyze", "--model", table, "--data", "data", "--split", "dev", "--perplexity", 20, "--out", "analysis")


def processor():
    """What the machine computes with, as `lscpu` tells it."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    says = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return f"{says['model name']} (family {says['cpu family']}, model {says['model']})"


def page(rows, scales):
    """The record."""
    head = [f"{100 * scale:g} %: s | own MB | MB" for scale in scales]
    lines = [
        "# Every command over a made collection of MS MARCO's size",
        "",
        "100 % are 8,841,823 passages, 502,939 training queries with 7 hard negatives each and 6,980 dev queries.",
        "Own MB are the most memory that a command held itself, MB with the files that it maps.",
        "Growth is the time at the largest scale over ten times that at a tenth of it.",
        "`search` asks 6,980 queries at every scale; all else has the scale's share of the queries, so that"
        " mining by BM25 has a hundred times the work at ten times the size.",
        f"{os.cpu_count()} cores of {processor()}; one run of each.",
        "",
        "```sh",
        "python benches/scale.py --folder /large/disk",
        "```",
        "",
        "| command | " + " | ".join(head) + " | growth |",
        "|---|" + "---:|---:|---:|" * len(scales) + "---:|",
    ]
    names = list(dict.fromkeys(name for name, _ in rows))
    for name in names:
        cells = [name]
        for scale in scales:
            row = rows.get((name, scale))
            cells += [f"{row['s']:,.1f}", f"{row['own'] / 1e6:,.0f}", f"{row['all'] / 1e6:,.0f}"] if row else ["–"] * 3
        most, tenth = (rows.get((name, scale)) for scale in (scales[-1], scales[-1] / 10))
        cells.append(f"{most['s'] / tenth['s'] / 10:.2f}" if most and tenth else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


options.folder.mkdir(parents=True, exist_ok=True)
rows = {}
if ROWS.exists():
    for line in ROWS.read_text().splitlines():
        row = json.loads(line)
        rows[row["command"], row["scale"]] = row
for scale in map(float, options.scales.split(",")):
    folder = options.folder / f"{scale:g}"
    folder.mkdir(exist_ok=True)
    for name, prepare, command in commands(folder, scale):
        is_wanted = any(word in name for word in options.only.split(","))
        if (name, scale) in rows or not is_wanted:
            continue
        print(f"{100 * scale:g} %: {name}", file=sys.stderr, flush=True)
        if prepare:
            prepare()
        row = {"command": name, "scale": scale, **measured(command, folder)}
        rows[name, scale] = row
        with open(ROWS, "a") as out:
            print(json.dumps(row), file=out)
        options.out.write_text(page(rows, sorted({scale for _, scale in rows})))
