"""A part of a data set's test split, for sweeps of many short trainings.

    python3 benches/part.py data/medquad data/medquad_part [--queries 1000] [--documents 2000]

Both are folders in BEIR layout. Of the judged queries those with the lowest hash of their id are
taken, then their relevant documents, then others by the hash of theirs: the same on every machine.
"""

import argparse
import gzip
import hashlib
import json
import pathlib

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--queries", type=int, default=1000)
parser.add_argument("--documents", type=int, default=2000)
options = parser.parse_args()


def lowest(ids, number):
    return set(sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())[:number])


def records(name):
    with gzip.open(options.data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {json.loads(line)["_id"]: line for line in lines}


def write(name, lines):
    (options.out / name).write_text("".join(lines), encoding="utf-8")


head, *rows = (options.data / "qrels/test.tsv").read_text().splitlines()
judged = [row.split("\t") for row in rows]
queries = lowest({query for query, _, _ in judged}, options.queries)
relevant = {document for query, document, grade in judged if query in queries and int(grade) > 0}
corpus, texts = records("corpus"), records("queries")
documents = relevant | lowest(corpus.keys() - relevant, max(0, options.documents - len(relevant)))

(options.out / "qrels").mkdir(parents=True)
write("corpus.jsonl", (line for id, line in corpus.items() if id in documents))
write("queries.jsonl", (line for id, line in texts.items() if id in queries))
kept = ("\t".join(row) for row in judged if row[0] in queries and row[1] in documents)
write("qrels/test.tsv", (row + "\n" for row in [head, *kept]))
print(f"{len(queries)} queries, {len(documents)} documents, {len(relevant)} of them relevant")
