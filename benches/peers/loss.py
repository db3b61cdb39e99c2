"""Time of loss plus gradients: PyTorch against samtone, interleaved in one run.

    cargo build --release -p samtone
    python benches/peers/loss.py target/release/samtone 2048x384 4096x768 --preset samtone-query

Every round times PyTorch and then samtone on random embeddings of the same size with the same
number of threads, so that what else the machine does falls on both; the table gives the median of
the rounds' medians and the ratio of each round. `--compile` adds `torch.compile`.
PyTorch computes the loss as sentence-transformers does: unit rows, one score matrix per block, the
blocks side by side, cross-entropy against the own positive, autograd backward.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

sys.path.pop(0)  # This folder's scripts have the names of packages.
import torch
import torch.nn.functional as F


def samtone_query(queries, documents, scale=20.0):
    q, d = F.normalize(queries), F.normalize(documents)
    rows = torch.arange(len(q))
    same = (q @ q.T * scale).fill_diagonal_(float("-inf"))
    logits = torch.cat([q @ d.T * scale, same], 1)
    return F.cross_entropy(logits, rows)


def in_batch(queries, documents, scale=20.0):
    q, d = F.normalize(queries), F.normalize(documents)
    return F.cross_entropy(q @ d.T * scale, torch.arange(len(q)))


def samtone(queries, documents, scale=20.0):
    q, d = F.normalize(queries), F.normalize(documents)
    rows = torch.arange(len(q))
    cross = q @ d.T * scale
    inf = float("-inf")
    one = F.cross_entropy(torch.cat([cross, (q @ q.T * scale).fill_diagonal_(inf)], 1), rows)
    two = F.cross_entropy(torch.cat([cross.T, (d @ d.T * scale).fill_diagonal_(inf)], 1), rows)
    return (one + two) / 2


LOSSES = {"samtone-query": samtone_query, "in-batch": in_batch, "samtone": samtone}


def torch_seconds(loss, rows, dim, repeat):
    queries = torch.randn(rows, dim, requires_grad=True)
    documents = (queries.detach() + torch.randn(rows, dim)).requires_grad_()
    seconds = []
    for _ in range(repeat):
        queries.grad = documents.grad = None
        start = time.perf_counter()
        loss(queries, documents).backward()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def samtone_seconds(binary, preset, rows, dim, repeat):
    command = [binary, "loss", "--random", f"{rows}x{dim}", "--preset", preset]
    command += ["--repeat", str(repeat), "--format", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("sizes", nargs="+", metavar="NxD")
    parser.add_argument("--preset", choices=LOSSES, default="samtone-query")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    sides = {"eager": LOSSES[arguments.preset]}
    if arguments.compile:
        sides["compile"] = torch.compile(LOSSES[arguments.preset])
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.preset}, milliseconds")
    for size in arguments.sizes:
        rows, dim = map(int, size.split("x"))
        times = {name: [] for name in [*sides, "samtone"]}
        for loss in sides.values():
            torch_seconds(loss, rows, dim, 1)  # compilation and first touch are not timed
        for _ in range(arguments.rounds):
            for name, loss in sides.items():
                times[name].append(torch_seconds(loss, rows, dim, arguments.repeat))
            ours = samtone_seconds(arguments.binary, arguments.preset, rows, dim, arguments.repeat)
            times["samtone"].append(ours["seconds_median"])
        line = [f"{size:>10}"]
        for name, seconds in times.items():
            line.append(f"{name} {statistics.median(seconds) * 1e3:.1f}")
        for name in sides:
            ratios = [a / b for a, b in zip(times[name], times["samtone"])]
            line.append(f"{name}/samtone {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        line.append(f"samtone {ours['gflops']:.0f} GFLOP/s")
        print("  ".join(line), flush=True)


main()
