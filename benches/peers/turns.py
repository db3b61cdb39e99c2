"""What the comparisons share: their options, sides that take turns, and the rows they find.

A row is a line of JSON on stdout, as soon as it is known: what was done, in which precision, and a
peer's figure beside samtone's. `cargo xtask bench-peers` makes tables of them; what is for people
alone goes to stderr.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time

# What a machine may set and a product library obeys to its loss, and what would hold samtone back.
SLOWING = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "SAMTONE_CPU",
)
PRECISIONS = ("f32", "bf16")
# Libraries print too: what they say goes to stderr, that stdout holds rows alone.
OUT, sys.stdout = sys.stdout, sys.stderr


def say(row):
    print(json.dumps(row), file=OUT, flush=True)


def parser(page, repeat):
    """Options that every comparison has, under the first line of its script's documentation."""
    parser = argparse.ArgumentParser(description=page.splitlines()[0])
    parser.add_argument("program", help="the binary of samtone's side")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeat", type=int, default=repeat, help="turns of every side")
    return parser


def parse(parser):
    """The options; the environment is put right for both sides, so the peers are imported later."""
    options = parser.parse_args()
    for name in SLOWING:
        os.environ.pop(name, None)
    os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    return options


def peers(*packages):
    """Says which versions stand beside samtone."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    say({"peers": versions})


class Program:
    """A program of ours that works once for each line it is given and answers with its seconds."""

    def __init__(self, *command):
        words = [str(word) for word in command]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)

    def __call__(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return float(self.line())

    def line(self):
        """The next line of its output."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} ended")
        return line.strip()

    def end(self):
        """The rest of its output."""
        return self.process.communicate()[0]


def timed(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def take(sides, repeat, warm=1):
    """Seconds of each side, `repeat` of them: every turn runs each once, so that what else the
    machine does meets all; the first turns warm up. A side returns its seconds."""
    seconds = {name: [] for name in sides}
    for turn in range(warm + repeat):
        for name, run in sides.items():
            time.sleep(0.05)  # The threads of the side before wait for work in a loop, for a while.
            taken = run()
            if turn >= warm:
                seconds[name].append(taken)
    return seconds


def rows(work, precision, seconds, amount=None, unit="s"):
    """A row for each peer: the medians, as `amount` a second where that is given, and the median,
    least and largest ratio of samtone's time to the peer's in one turn."""

    def figure(values):
        median = statistics.median(values)
        return amount / median if amount else median

    ours = seconds["samtone"]
    for peer, theirs in seconds.items():
        if peer == "samtone":
            continue
        ratios = [a / b for a, b in zip(ours, theirs)]
        row = {"work": work, "precision": precision, "unit": unit, "peer": peer}
        row |= {"samtone": figure(ours), "theirs": figure(theirs)}
        row |= {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        say(row)
