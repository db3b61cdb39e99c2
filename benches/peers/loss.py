"""Time of loss plus gradients on random embeddings, beside PyTorch.

    cargo build --release -p samtone
    python benches/peers/loss.py target/release/samtone 2048x384 4096x768 [--preset samtone-query]
        [--compile] [--threads 2] [--repeat 5]

PyTorch computes the loss as sentence-transformers does: unit rows, one score matrix per block, the
blocks side by side, cross-entropy against the own positive, autograd backward; `--compile` adds
`torch.compile`, made anew for each size, which wants a C++ compiler. A turn is a median of three.
Needs torch.
"""

import json
import statistics
import subprocess

import turns

INNER = 3


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
parser = turns.parser(__doc__, repeat=5)
parser.add_argument("sizes", nargs="+", metavar="NxD")
parser.add_argument("--preset", choices=LOSSES, default="samtone-query")
parser.add_argument("--compile", action="store_true")
options = turns.parse(parser)

import torch
import torch.nn.functional as F

torch.set_num_threads(options.threads)


def ours(size):
    command = [options.program, "loss", "--random", size, "--preset", options.preset]
    command += ["--repeat", str(INNER), "--format", "json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["seconds_median"]


def theirs(loss, queries, documents):
    def step():
        queries.grad = documents.grad = None
        loss(queries, documents).backward()

    return statistics.median(turns.timed(step) for _ in range(INNER))


turns.peers("torch")
for size in options.sizes:
    rows, dim = map(int, size.split("x"))
    queries = torch.randn(rows, dim, requires_grad=True)
    documents = (queries.detach() + torch.randn(rows, dim)).requires_grad_()
    losses = {"PyTorch eager": LOSSES[options.preset]}
    if options.compile:
        torch._dynamo.reset()
        losses["torch.compile"] = torch.compile(LOSSES[options.preset], dynamic=False)
    sides = {"samtone": lambda: ours(size)}
    for name, loss in losses.items():
        sides[name] = lambda loss=loss: theirs(loss, queries, documents)
    work = f"`{options.preset}`, {rows} × {dim}"
    turns.rows(work, "f32", turns.take(sides, options.repeat))
