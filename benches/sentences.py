"""SelQA and QAMR as folders in BEIR layout: a question finds a sentence.

    python3 benches/sentences.py selqa CLONE data/selqa
    python3 benches/sentences.py qamr CLONE data/qamr

CLONE is a clone of https://github.com/emorynlp/selqa or https://github.com/uwnlp/qamr. Trained on is
what their authors call dev, and judged their test. SelQA's documents are all sentences of the
questions' sections, QAMR's all sentences that were asked about or might have been.
"""

import json
import pathlib
import re
import sys

name, clone, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
SPLITS = {"train": "dev", "test": "test"}

documents = {}  # (title, text): id
queries = {}  # (split, text): id
judgments = {split: {} for split in SPLITS}


def document(title, text):
    return documents.setdefault((title, text), f"d{len(documents)}")


def judge(split, question, document):
    query = queries.setdefault((split, question), f"{split}{len(queries)}")
    judgments[split][query, document] = None


def joined(tokens):
    """A text of tokens that a treebank parted."""
    for token, text in [("-LRB-", "("), ("-RRB-", ")"), ("``", '"'), ("''", '"')]:
        tokens = tokens.replace(token, text)
    tokens = re.sub(r" (n't|'\w+|[.,;:!?%)])", r"\1", tokens)
    tokens = re.sub(r"([(]) ", r"\1", tokens)
    return re.sub(r'" ([^"]*) "', r'"\1"', tokens)


if name == "selqa":
    for split, published in SPLITS.items():
        path = clone / f"ass/selqa-ass-{published}.json"
        for entry in json.loads(path.read_text(encoding="utf-8")):
            texts = (" ".join(text.split()) for text in entry["candidates"])
            found = [document(entry["article"], text) if text else None for text in texts]
            for answer in entry["answers"]:
                judge(split, entry["question"], found[answer])
elif name == "qamr":
    lines = (clone / "data/wiki-sentences.tsv").read_text(encoding="utf-8").splitlines()
    sentences = dict(line.split("\t") for line in lines)
    found = {key: document("", joined(tokens)) for key, tokens in sentences.items()}
    for split, published in SPLITS.items():
        path = clone / f"data/filtered/{published}.tsv"
        for line in path.read_text(encoding="utf-8").splitlines():
            sentence, *_, question = line.split("\t")[:6]
            judge(split, question, found[sentence])
else:
    sys.exit(f"`{name}` is neither `selqa` nor `qamr`")


def write(path, lines):
    (out / path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


(out / "qrels").mkdir(parents=True)
rows = ({"_id": id, "title": title, "text": text} for (title, text), id in documents.items())
write("corpus.jsonl", map(json.dumps, rows))
write("queries.jsonl", (json.dumps({"_id": id, "text": text}) for (_, text), id in queries.items()))
for split, judged in judgments.items():
    rows = (f"{query}\t{document}\t1" for query, document in judged)
    write(f"qrels/{split}.tsv", ["query-id\tcorpus-id\tscore", *rows])
