"""BM25 beside bm25s and tantivy: 1,000 queries, 1,000,000 passages, top 100.

    cargo build --release -p samtone-benches --bin bm25_speed
    python benches/peers/bm25.py target/release/bm25_speed [--threads 2] [--repeat 7]

Every side gets the same words, all of which it indexes. k1 is 1.2 and b 0.75, which tantivy fixes. A side is a process of its own: it builds its
index, then searches for all queries a turn, from text to hits; what it held at most, and how long building
took, are said at the end, with the share of hits that it has in common with samtone. The mapped forms
build in one process and are searched in another. Needs bm25s, tantivy and numba, which makes bm25s faster.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import made
import turns

K1, B = 1.2, 0.75


def peak():
    """The most memory this process has held, in bytes."""
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024


def serve(started, search):
    """The other end of `turns.Program`; `search` returns a function that names what was found."""
    print(time.perf_counter() - started, file=turns.OUT, flush=True)
    names = lambda: []
    for _ in sys.stdin:
        start = time.perf_counter()
        names = search()
        print(time.perf_counter() - start, file=turns.OUT, flush=True)
    print(peak(), file=turns.OUT)
    for row in names():
        print(*row, file=turns.OUT)


def bm25s_side(folder, k, threads, is_mapped):
    import bm25s

    started = time.perf_counter()
    kept = folder / "bm25s"
    tokens = lambda texts: bm25s.tokenize(texts, stopwords=[], show_progress=False)
    if is_mapped and kept.exists():
        index = bm25s.BM25.load(kept, mmap=True)
    else:
        with open(folder / "texts") as lines:
            words = tokens([line.rstrip("\n") for line in lines])
        index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numba")
        index.index(words, show_progress=False)
        if is_mapped:
            index.save(kept)
            return
    if index.backend == "numba":
        index.activate_numba_scorer()
    queries = (folder / "queries").read_text().splitlines()

    def search():
        found = index.retrieve(tokens(queries), k=k, n_threads=threads, show_progress=False)
        return lambda: ([row for row, score in zip(*pair) if score > 0] for pair in zip(*found))

    serve(started, search)


def tantivy_side(folder, k, threads, is_mapped):
    from concurrent.futures import ThreadPoolExecutor

    import tantivy

    started = time.perf_counter()
    kept = folder / "tantivy"
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("text", index_option="freq", tokenizer_name="whitespace")
    schema.add_unsigned_field("row", stored=True)
    schema = schema.build()
    if is_mapped and kept.exists():
        index = tantivy.Index(schema, path=str(kept))
    else:
        if is_mapped:
            kept.mkdir()
        index = tantivy.Index(schema, path=str(kept)) if is_mapped else tantivy.Index(schema)
        writer = index.writer(256 << 20, threads)
        with open(folder / "texts") as lines:
            for row, line in enumerate(lines):
                writer.add_document(tantivy.Document(text=line.rstrip("\n"), row=row))
        writer.commit()
        writer.wait_merging_threads()
        if is_mapped:
            return
    index.reload()
    searcher = index.searcher()
    queries = (folder / "queries").read_text().splitlines()

    def one(query):
        return searcher.search(index.parse_query(query, ["text"]), k, count=False).hits

    pool = ThreadPoolExecutor(threads)

    def search():
        found = list(pool.map(one, queries, chunksize=50))
        return lambda: ([searcher.doc(hit)["row"][0] for _, hit in hits] for hits in found)

    serve(started, search)


SIDES = {"bm25s": bm25s_side, "tantivy": tantivy_side}

if sys.argv[1] == "--side":
    side, folder, k, threads, is_mapped = sys.argv[2:]
    SIDES[side](Path(folder), int(k), int(threads), is_mapped == "True")
    sys.exit()

parser = turns.parser(__doc__, repeat=7)
parser.add_argument("--passages", type=int, default=1_000_000)
parser.add_argument("--queries", type=int, default=1_000)
parser.add_argument("-k", type=int, default=100)
options = turns.parse(parser)
os.environ["NUMBA_NUM_THREADS"] = str(options.threads)

turns.peers("bm25s", "tantivy", "numba")
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    passages, queries = made.zipf(options.passages, options.queries)
    for name, lines in (("texts", passages), ("queries", queries)):
        with open(folder / name, "w") as out:
            out.writelines(line + "\n" for line in lines)
    ours = (options.program, folder / "texts", folder / "queries", options.k, K1, B)
    peer = lambda name, is_mapped: turns.Program(
        sys.executable, __file__, "--side", name, folder, options.k, options.threads, is_mapped
    )
    for is_mapped in (False, True):
        if is_mapped:
            # Built and kept by processes that end.
            turns.Program(*ours, folder / "samtone").end()
            for name in SIDES:
                peer(name, True).end()
        programs = {"samtone": turns.Program(*ours, *[folder / "samtone"] * is_mapped)}
        programs |= {name: peer(name, is_mapped) for name in SIDES}
        begun = {name: float(program.line()) for name, program in programs.items()}
        seconds = turns.take(programs, options.repeat)
        form = ", mapped" if is_mapped else ""
        work = f"{options.queries:,} queries × {options.passages:,} passages, top {options.k}{form}"
        turns.rows(work, "f32", seconds)
        found = {}
        for name, program in programs.items():
            held, *rows = program.end().splitlines()
            found[name] = [set(row.split()) for row in rows]
            pairs = list(zip(found["samtone"], found[name]))
            same = sum(len(a & b) for a, b in pairs) / max(sum(len(a) for a, _ in pairs), 1)
            what = "opened" if is_mapped else "built"
            print(
                f"{name}{form}: {what} in {begun[name]:.1f} s, held {int(held) / 1e6:,.0f} MB,"
                f" {same:.2%} of samtone's hits",
                file=sys.stderr,
            )
