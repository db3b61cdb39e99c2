"""From files to metrics beside pytrec_eval and ranx: 10,000 queries with 100 documents each.

    cargo build --release -p samtone
    python benches/peers/evaluation.py target/release/samtone [--repeat 7]

Whole processes, in turn in one run, reading the same TREC files; ranx once, as it takes so long
(give --ranx-repeat for more). Needs pytrec-eval-terrier and ranx.
"""

import argparse
import importlib.metadata
import random
import statistics
import subprocess
import sys
import tempfile
import time

PYTREC_EVAL = """
import pytrec_eval, sys
qrels = pytrec_eval.parse_qrel(open(sys.argv[1]))
run = pytrec_eval.parse_run(open(sys.argv[2]))
names = ["ndcg_cut_10", "recip_rank", "recall_100", "map", "P_1"]
found = pytrec_eval.RelevanceEvaluator(
    qrels, {"ndcg_cut.10", "recip_rank", "recall.100", "map", "P.1"}).evaluate(run)
print([sum(v[name] for v in found.values()) / len(found) for name in names])
"""
RANX = """
import sys
from ranx import Qrels, Run, evaluate
qrels, run = Qrels.from_file(sys.argv[1], kind="trec"), Run.from_file(sys.argv[2], kind="trec")
print(evaluate(qrels, run, ["ndcg@10", "mrr", "recall@100", "map", "precision@1"]))
"""

parser = argparse.ArgumentParser()
parser.add_argument("program", nargs="+")
parser.add_argument("--repeat", type=int, default=7)
parser.add_argument("--ranx-repeat", type=int, default=1)
options = parser.parse_args()


def write(folder):
    rng = random.Random(1)
    with open(f"{folder}/qrels.txt", "w") as qrels, open(f"{folder}/run.trec", "w") as run:
        for q in range(10_000):
            found = rng.sample(range(200_000), 100)
            judged = set(rng.sample(found, rng.randint(0, 3))) | set(rng.sample(range(200_000), 2))
            qrels.writelines(f"query{q} 0 doc{d} {rng.randint(0, 2)}\n" for d in judged)
            scores = sorted((rng.gauss(0.0, 1.0) for _ in found), reverse=True)
            run.writelines(f"query{q} Q0 doc{d} {rank} {score:.9g} tag\n"
                           for rank, (d, score) in enumerate(zip(found, scores), 1))


with tempfile.TemporaryDirectory() as folder:
    write(folder)
    files = [f"{folder}/qrels.txt", f"{folder}/run.trec"]
    commands = {
        "samtone": [*options.program, "eval", "--run", files[1], "--qrels", files[0],
                    "--metrics", "ndcg@10,mrr,recall@100,map,p@1", "--format", "json"],
        "pytrec_eval": [sys.executable, "-c", PYTREC_EVAL, *files],
        "ranx": [sys.executable, "-c", RANX, *files],
    }
    seconds = {name: [] for name in commands}
    for round in range(options.repeat):
        for name, command in commands.items():
            if name == "ranx" and round >= options.ranx_repeat:
                continue
            start = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds[name].append(time.perf_counter() - start)
            if round == 0:
                print(name, done.stdout.strip())
versions = [f"{name} {importlib.metadata.version(name)}" for name in ("pytrec-eval-terrier", "ranx")]
print(", ".join(versions))
for name, times in seconds.items():
    print(f"{name:12} median {statistics.median(times):.3f} s, best {min(times):.3f} s")
for name in ("pytrec_eval", "ranx"):
    pairs = [b / a for a, b in zip(seconds["samtone"], seconds[name])]
    print(f"{name} takes {statistics.median(pairs):.1f} times as long")
