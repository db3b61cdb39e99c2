"""What `samtone plan` expects beside what `samtone train` takes: peak memory and seconds a step.

    cargo build --release -p samtone
    python benches/plan.py target/release/samtone --data data/squad_reqa_train

Three shapes: MiniLM's with a large batch in small chunks, the same in one pass, and a small model.
Nothing is judged, so that the peak is the training's.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--data", required=True, help="a folder in BEIR layout")
options = parser.parse_args()

COMMON = [f'data.train="{options.data}"', 'data.document_text="text"', 'data.dev_split=""',
          'data.test_split=""', "model.query_max_len=64", "model.document_max_len=128",
          'loss.preset="samtone-query"']
SMALL = ['type="bert"', "vocab_size=8192", "hidden=128", "layers=2", "heads=4", "intermediate=512",
         "max_positions=128"]
CONFIGURATIONS = {
    "MiniLM's shape, 2,048 pairs, chunk 32": [
        "train.batch_size=2048", "train.chunk=32", "train.steps=3"],
    "MiniLM's shape, 64 pairs, one pass": ["train.batch_size=64", "train.chunk=64", "train.steps=8"],
    "2 layers of 128, 512 pairs, chunk 128": [
        "train.batch_size=512", "train.chunk=128", "train.steps=20",
        *(f"model.encoder.{setting}" for setting in SMALL)],
}


def samtone(command, settings, *more):
    # An empty configuration: every default, MiniLM's shape among them.
    arguments = [options.program, command, "--config", os.devnull, *more, "--format", "json"]
    for setting in [*COMMON, *settings]:
        arguments += ["--set", setting]
    return json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)


print("| | chunk | memory expected, MB | taken, MB | expected / taken | s a step expected | taken |")
print("|---|---:|---:|---:|---:|---:|---:|")
for name, settings in CONFIGURATIONS.items():
    plan = samtone("plan", settings)
    with tempfile.TemporaryDirectory() as folder:
        samtone("train", settings, "--run-dir", f"{folder}/run")
        environment = json.loads(pathlib.Path(folder, "run/environment.json").read_text())
    steps = int(next(s for s in settings if s.startswith("train.steps=")).split("=")[1])
    expected, taken = plan["peak_bytes"], environment["peak_rss_bytes"]
    seconds = environment["train_seconds"] / steps
    print(f"| {name} | {plan['chunk']} | {expected / 1e6:.0f} | {taken / 1e6:.0f} "
          f"| {expected / taken:.2f} | {plan['seconds_per_step']:.2f} | {seconds:.2f} |", flush=True)
