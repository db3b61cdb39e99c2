"""Tiny model folders of every kind: samtone beside sentence-transformers, from the start to the export.

    cargo xtask parity folders [WORD...] [--keep FOLDER]
    python benches/peers/folders/compare.py target/release/samtone [WORD...] [--keep FOLDER]

Makes the folders of `kinds.py` with random weights. For each of them, both must agree on the vectors
of queries and documents and on the ranking; so must they on what `samtone train` and `samtone export`
make of it, which keep the folder's pooling, prompts, lengths, similarity and lower-casing; and
`samtone eval` must give the metrics of `summary.json` to the last digit. Prints a table, then what
differs, and fails where something does. WORDs choose the rows that contain one of them. Needs what
parity_folders.txt lists.
"""

import argparse
import collections
import concurrent.futures
import importlib.metadata
import itertools
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import cos_sim, dot_score

import kinds
import make

#: 1 - the cosine of two vectors that should be one: f32 arithmetic in another order.
DIRECTION = 1e-6
#: Largest difference of an element, as a share of the vector's length.
DIFFERENCE = 1e-5
#: Largest difference of a score, as a share of the product of both lengths; scores closer than it
#: are ties.
SCORE = 1e-5
#: Small enough that a trained weight is the one it started from.
NO_LEARNING = 1e-12

SIMILARITIES = {"cosine": cos_sim, "dot": dot_score}
SIDES = ["query", "document"]
METRICS = ["mrr@10", "ndcg@10", "p@1", "recall@100", "map"]
COLUMNS = ["encode", "rank", "train", "kept", "summary", "export"]

Vectors = collections.namedtuple("Vectors", "query document similarity")


class Differs(Exception):
    """What differs, in words."""


class Refused(Exception):
    """A command failed."""

    def __init__(self, command, result):
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        self.code = result.returncode
        words = " / ".join(line.strip() for line in lines[:3])
        super().__init__(f"exit code {self.code} of `samtone {command}`: {words}")


# The two programs


class Samtone:
    def __init__(self, program):
        self.program = str(pathlib.Path(program).resolve())
        self.environment = {**os.environ, "RAYON_NUM_THREADS": "1"}

    def __call__(self, command, **options):
        words = [self.program, command]
        for name, value in options.items():
            words.append("--" + name.replace("_", "-"))
            words += [] if value is True else [str(value)]
        result = subprocess.run(words, capture_output=True, text=True, env=self.environment)
        if result.returncode:
            raise Refused(command, result)
        return result.stdout

    def vectors(self, model, data, out):
        """Of the data's queries and documents."""
        found = []
        for side, file in [("query", "queries.jsonl"), ("document", "corpus.jsonl")]:
            folder = f"{out}-{side}"
            self("encode", model=model, input=data / file, side=side, out=folder)
            found.append(load_file(f"{folder}/embeddings.safetensors")["embeddings"])
        return found

    def ranking(self, model, data, out, **options):
        """Of the test split: each query's documents with their scores, best first; and the metrics."""
        printed = self("eval", model=model, data=data, split="test", complete=True, out=out,
                       metrics=",".join(METRICS), format="json", **options)
        ranking = collections.defaultdict(list)
        for line in pathlib.Path(out).read_text().splitlines():
            query, _, document, _, score, _ = line.split()
            ranking[query].append((document, float(score)))
        return ranking, json.loads(printed)["metrics"]


#: torch and transformers are not called from two threads at once.
one_at_a_time = threading.Lock()


def opened(folder):
    """A model for each side, the same twice where the folder serves both."""
    folder = pathlib.Path(folder)
    if (folder / "query" / "modules.json").exists():
        return [SentenceTransformer(str(folder / side), device="cpu") for side in SIDES]
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return [model, model]


def passages(documents, title):
    """What of a document is read."""
    return [" ".join(part.strip() for part in (name if title else "", text) if part.strip())
            for _, name, text in documents]


def their_vectors(models, texts, lengths=None):
    """Of queries and documents, and how the documents' model compares them.

    `lengths` are those of queries and documents where the folder, which has one, does not say.
    """
    vectors = []
    with one_at_a_time:
        for side, model, length in zip(SIDES, models, lengths or (None, None)):
            own = model.max_seq_length
            if length:
                model.max_seq_length = length
            encode = model.encode_query if side == "query" else model.encode_document
            vectors.append(encode(texts[side], batch_size=8))
            if length:
                model.max_seq_length = own
    return Vectors(*vectors, models[1].similarity_fn_name)


# Comparisons


def same_vectors(ours, theirs, direction_alone=False):
    """Raises where they differ; returns the largest difference."""
    largest = 0.0
    for side, a, b in zip(SIDES, ours, theirs):
        if a.shape != b.shape:
            raise Differs(f"{side}: {a.shape[1]} dimensions, expected {b.shape[1]}")
        lengths = np.linalg.norm(b, axis=1, keepdims=True).clip(1e-12)
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1).clip(1e-12) / lengths[:, 0]
        away = float((1 - cosines).max())
        if away > DIRECTION:
            count = int((1 - cosines > DIRECTION).sum())
            raise Differs(f"{side}: least cosine {1 - away:.4f}, {count} of {len(a)} vectors differ")
        if not direction_alone:
            difference = float((np.abs(a - b) / lengths).max())
            if difference > DIFFERENCE:
                raise Differs(f"{side}: elements differ by {difference:.1e} of the length")
            largest = max(largest, difference)
    return largest


def same_ranking(ranking, theirs, ids):
    """Raises where a document stands above one that they score higher, or a score differs."""
    if theirs.similarity not in SIMILARITIES:
        raise Differs(f"ranked, though not by {theirs.similarity}")
    score = SIMILARITIES[theirs.similarity]
    scores = score(theirs.query, theirs.document).numpy()
    lengths = [np.linalg.norm(v, axis=1) for v in (theirs.query, theirs.document)]
    unit = 1.0 if theirs.similarity == "cosine" else float(np.outer(*lengths).max())
    query_ids, document_ids = ids
    column = {document: i for i, document in enumerate(document_ids)}
    for query, row in zip(query_ids, scores):
        found = ranking[query]
        if len(found) != len(document_ids):
            raise Differs(f"{query}: {len(found)} of {len(document_ids)} documents found")
        expected = np.array([row[column[document]] for document, _ in found]) / unit
        got = np.array([score for _, score in found]) / unit
        if (np.diff(expected) > SCORE).any():
            raise Differs(f"{query}: another order by {theirs.similarity}")
        if np.abs(got - expected).max() > SCORE:
            raise Differs(f"{query}: scores differ by {np.abs(got - expected).max():.1e}")


def facts(models):
    """What a folder says about itself, as sentence-transformers understands it."""
    found = {}
    for side, model in zip(SIDES, models):
        modules = list(model)
        if type(modules[0]).__name__ == "Router":
            modules = list(modules[0].sub_modules[side])
        by_name = {type(module).__name__: module for module in modules}
        tokenizer = by_name["Transformer"].tokenizer
        pooling = by_name["Pooling"]
        found |= {
            f"{side}: prompt": model.prompts[side],
            f"{side}: longest text": by_name["Transformer"].max_seq_length,
            f"{side}: lower case": tokenizer("Who ASKS?")["input_ids"] == tokenizer("who asks?")["input_ids"],
            f"{side}: pooling": pooling.pooling_mode,
            f"{side}: include_prompt": not model.prompts[side] or pooling.include_prompt,
            f"{side}: stages": [name for name in by_name],
            f"{side}: similarity": model.similarity_fn_name,
        }
    return found


def expected_facts(start, keys):
    """The facts of `start`, but for what `keys` say."""
    expected = dict(start)
    for side in SIDES:
        changes = {
            "prompt": keys.get(f"model.{side}_prompt"),
            "longest text": keys.get(f"model.{side}_max_len"),
            "lower case": keys.get("data.lowercase"),
            "pooling": {"last": "lasttoken"}.get(keys.get("model.pooling"), keys.get("model.pooling")),
            "similarity": keys.get("loss.similarity"),
        }
        expected |= {f"{side}: {name}": value for name, value in changes.items() if value is not None}
        if not expected[f"{side}: prompt"]:
            expected[f"{side}: include_prompt"] = True
        stages = expected[f"{side}: stages"]
        dense = "Dense" in stages or "model.projection" in keys
        normalize = keys.get("model.normalize", "Normalize" in stages)
        expected[f"{side}: stages"] = (
            ["Transformer", "Pooling"] + ["Dense"] * dense + ["Normalize"] * normalize
        )
    if keys.get("model.sharing", "sde") == "sde":  # One folder has one length.
        longest = max(expected["query: longest text"], expected["document: longest text"])
        expected["query: longest text"] = expected["document: longest text"] = longest
    return expected


def same_facts(found, expected):
    wrong = [f"{name} is {found[name]!r}, expected {value!r}"
             for name, value in expected.items() if found[name] != value]
    if wrong:
        raise Differs("; ".join(wrong))


# One row of the table


class Bench:
    """The data, the programs and the folder that everything is written into."""

    def __init__(self, samtone, home):
        self.samtone, self.home = samtone, home
        #: Of an element, as a share of the vector's length.
        self.largest = 0.0
        self.data = home / "data"
        self.queries, self.documents = make.write_data(self.data)
        self.ids = [i for i, *_ in self.queries], [i for i, *_ in self.documents]

    def texts(self, title=True):
        return {"query": [text for _, text in self.queries],
                "document": passages(self.documents, title)}

    def agree(self, folder, texts, out, lengths=None):
        """Whether both read `folder` alike: vectors and ranking. Returns theirs."""
        with one_at_a_time:
            models = opened(folder)
        theirs = their_vectors(models, texts, lengths)
        ours = self.samtone.vectors(folder, self.data, f"{out}-vectors")
        self.largest = max(self.largest, same_vectors(ours, theirs))
        ranking, metrics = self.samtone.ranking(folder, self.data, f"{out}.trec")
        same_ranking(ranking, theirs, self.ids)
        return theirs, models, metrics

    def train(self, start, keys, out):
        settings = {"data.train": str(self.data), "model.path": str(start), "train.steps": 3,
                    "train.batch_size": 4, "train.warmup": 0, "train.lr": 1e-3,
                    "eval.metrics": METRICS, **keys}
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        out.with_suffix(".toml").write_text("\n".join(lines) + "\n")
        self.samtone("train", config=out.with_suffix(".toml"), run_dir=out)
        return out / "model", json.loads((out / "summary.json").read_text())["test"]


class Row:
    """The cells of one row: what was found, or what differs."""

    def __init__(self, name):
        self.name, self.cells, self.faults = name, {}, []

    def check(self, column, action):
        """Runs `action` and notes what it raises; returns its result, none if it raised."""
        try:
            result = action()
        except (Differs, Refused) as fault:
            self.cells[column] = "refused" if isinstance(fault, Refused) else "DIFFERS"
            self.faults.append(f"{column}: {fault}")
            return None
        self.cells.setdefault(column, "ok")
        return result


def check_kind(bench, number, kind):
    """A folder as it is, after a training without keys and exported."""
    row, home = Row(str(kind)), bench.home / f"kind-{number}"
    start = home / "start"
    with one_at_a_time:
        make.write_folder(kind, start, seed=number)
        models = opened(start)
    texts = bench.texts()
    theirs = their_vectors(models, texts)

    def encode():
        ours = bench.samtone.vectors(start, bench.data, home / "start-vectors")
        # Of an encoder alone sentence-transformers makes vectors of any length, samtone of length 1.
        largest = same_vectors(ours, theirs, direction_alone=kind.odd == "plain")
        bench.largest = max(bench.largest, largest)
        row.cells["encode"] = f"{largest:.0e}"

    def rank():
        ranking, _ = bench.samtone.ranking(start, bench.data, home / "start.trec")
        same_ranking(ranking, theirs, bench.ids)

    row.check("encode", encode)
    row.check("rank", rank)
    if kind in kinds.ODD:
        return row
    expected = facts(models)
    for side in SIDES:
        if kind.length == "absent" and kind.encoder == "t5":
            # Where nothing says a length, samtone has one of its own.
            del expected[f"{side}: longest text"]
        elif kind.length == "absent" and kind.encoder == "roberta":
            # Its first two positions are no token's, of which sentence-transformers does not know.
            expected[f"{side}: longest text"] -= 2

    def train():
        model, summary = bench.train(start, {}, home / "run")
        found = row.check("train", lambda: bench.agree(model, texts, home / "run-read"))
        if found:
            _, models, metrics = found
            row.check("kept", lambda: same_facts(facts(models), expected))
            row.check("summary", lambda: same_metrics(metrics, summary))
            if np.allclose(found[0].document, theirs.document, rtol=0, atol=1e-6):
                raise Differs("nothing was learned")

    def keep():
        """Two towers that learn nothing embed as the folder does."""
        sharing = kinds.SHARINGS[number % 4]
        if sharing == "ade-spl" and "dense" not in kind.head:
            sharing = "ade"
        keys = {"train.lr": NO_LEARNING}
        if kind not in kinds.ROUTERS:
            keys["model.sharing"] = sharing
        model, summary = bench.train(start, keys, home / "kept")
        found, models, metrics = bench.agree(model, texts, home / "kept-read")
        same_vectors(found, theirs)
        same_facts(facts(models), expected)
        row.check("summary", lambda: same_metrics(metrics, summary))

    def export():
        bench.samtone("export", model=start, out=home / "exported")
        found, models, _ = bench.agree(home / "exported", texts, home / "exported-read")
        same_vectors(found, theirs)
        same_facts(facts(models), expected)

    row.check("train", train)
    row.check("kept", keep)
    row.check("export", export)
    return row


def same_metrics(found, summary):
    """To the last digit."""
    wrong = [f"{name}: {found.get(name)!r} of `eval`, {value!r} in summary.json"
             for name, value in summary.items() if found.get(name) != value]
    if wrong:
        raise Differs("; ".join(wrong))


def check_run(bench, number, start, keys):
    """A training with keys, and its export in both layouts."""
    words = ", ".join(f"{key.split('.')[1]}={value}" for key, value in keys.items())
    row, home = Row(f"[{start}] {words}"), bench.home / f"run-{number}"
    with one_at_a_time:
        make.write_folder(start, home / "start", seed=100 + number)
        models = opened(home / "start")
    expected = expected_facts(facts(models), keys)
    texts = bench.texts(title=keys.get("data.document_text") != "text")
    # The card says it: a folder for both sides has one length.
    lengths = None
    if "model.sharing" not in keys and any("max_len" in key for key in keys):
        lengths = [keys.get(f"model.{side}_max_len", models[0].max_seq_length) for side in SIDES]

    def run():
        model, summary = bench.train(home / "start", keys, home / "run")
        found = row.check("train", lambda: bench.agree(model, texts, home / "read", lengths))
        if not found:
            return
        theirs, models, metrics = found
        row.check("kept", lambda: same_facts(facts(models), expected))
        row.check("summary", lambda: same_metrics(metrics, summary))
        if keys.get("data.lowercase"):
            row.check("kept", lambda: lower_case_alike(bench, model, theirs, home))
        row.check("kept", lambda: go_on(model, theirs))
        layouts = ["towers"] if "model.sharing" not in keys else ["towers", "router"]
        for layout in layouts:
            row.check("export", lambda: export(model, theirs, layout))

    def go_on(model, theirs):
        """A run that starts from this one's model keeps what its keys said."""
        again, summary = bench.train(model, {"train.lr": NO_LEARNING}, home / "again")
        found, models, metrics = bench.agree(again, texts, home / "again-read", lengths)
        same_vectors(found, theirs)
        same_facts(facts(models), expected)
        same_metrics(metrics, summary)

    def export(model, theirs, layout):
        out = home / f"exported-{layout}"
        bench.samtone("export", model=model, out=out, layout=layout)
        found, models, _ = bench.agree(out, texts, f"{out}-read", lengths)
        same_vectors(found, theirs)
        same_facts(facts(models), expected)

    row.check("train", run)
    return row


def lower_case_alike(bench, model, theirs, home):
    """Texts and their lower-cased forms have the same vectors."""
    small = home / "lower"
    small.mkdir()
    for file in ("queries.jsonl", "corpus.jsonl"):
        lines = (bench.data / file).read_text(encoding="utf8").splitlines()
        values = [json.loads(line) for line in lines]
        for value in values:
            for key in {"text", "title"} & value.keys():
                value[key] = value[key].lower().replace("[sep]", "[SEP]")  # One token, whatever the case.
        text = "".join(json.dumps(value) + "\n" for value in values)
        (small / file).write_text(text, encoding="utf8")
    same_vectors(bench.samtone.vectors(model, small, home / "lower-vectors"), theirs)


def check_odd(bench, number, kind):
    """Right or refused, with an error that is no panic."""
    row = check_kind(bench, number, kind)
    refused = [fault for fault in row.faults if "exit code" in fault]
    if refused and len(refused) == len(row.faults) and not any("code 101" in fault for fault in refused):
        row.faults = []
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("words", nargs="*", help="rows that contain one of these, instead of all")
    parser.add_argument("--keep", help="write everything into this folder and leave it there")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    start = time.monotonic()
    named = [kinds.MINI, kinds.E5, kinds.BGE, kinds.DOT, kinds.LAST, kinds.GTR, kinds.INSTRUCTOR, kinds.CASED]
    number = itertools.count()
    whole = [*named, *kinds.every_pair(), *kinds.ROUTERS, *kinds.ENCODERS]
    work = [(check_kind, next(number), kind) for kind in whole]
    work += [(check_odd, next(number), kind) for kind in kinds.ODD]
    work += [(check_run, next(number), folder, keys) for folder, keys in kinds.RUNS]
    if options.words:
        work = [item for item in work if any(word in f"{item[2]} {item[3:]}" for word in options.words)]
    with tempfile.TemporaryDirectory() as temporary:
        home = pathlib.Path(options.keep or temporary)
        home.mkdir(exist_ok=True)
        bench = Bench(Samtone(options.program), home)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(lambda item: item[0](bench, *item[1:]), work))
    report(rows)
    packages = ["sentence-transformers", "transformers", "torch"]
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
    print(f"largest difference of an element: {bench.largest:.1e} of the vector's length")
    differing = sum(bool(row.faults) for row in rows)
    print(f"{len(rows)} rows, of which {differing} differ, in {time.monotonic() - start:.0f} s")
    sys.exit(differing > 0)


def report(rows):
    width = max(len(row.name) for row in rows)
    print(f"{'kind':{width}} " + " ".join(f"{name:>8}" for name in COLUMNS))
    for row in rows:
        cells = " ".join(f"{row.cells.get(name, ''):>8}" for name in COLUMNS)
        print(f"{row.name:{width}} {cells}".rstrip())
    for row in rows:
        if row.faults:
            print(f"\n{row.name}")
            for fault in dict.fromkeys(row.faults):
                print(f"  {fault}")
    print()


if __name__ == "__main__":
    main()
