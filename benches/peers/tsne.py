"""t-SNE beside scikit-learn's: neighbourhoods kept, divergence and time, on the same points.

    cargo build --release -p samtone-benches --bin tsne_speed
    samtone encode --model M --data D --side query --out Q       # and --side document --out E
    python benches/peers/tsne.py target/release/tsne_speed NAME=Q/embeddings.safetensors,E/embeddings.safetensors ...

Of each NAME, `--points` rows of every file are drawn by seed and put at length 1 (a model's queries
and documents, say, or one file of any embeddings); both projections have perplexity 30, 1,000
epochs, θ = 0.5 and a start from the principal components. They take turns in one run, so that
whatever else the machine does meets both; medians are printed. scikit-learn uses `--threads`,
samtone one. Needs scikit-learn, numpy and safetensors.
"""

import argparse
import os
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("sets", nargs="+")
parser.add_argument("--points", type=int, default=400)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeat", type=int, default=5)
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

import numpy as np
import sklearn
from safetensors.numpy import load_file
from sklearn.manifold import TSNE, trustworthiness


def points(paths):
    rng = np.random.default_rng(0)
    parts = []
    for path in paths:
        x = load_file(path)["embeddings"].astype(np.float32)
        x = x[rng.permutation(len(x))[: options.points]]
        parts.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return np.concatenate(parts)


def compare(name, x):
    with tempfile.NamedTemporaryFile() as file:
        x.tofile(file.name)
        ours = subprocess.Popen([options.program, file.name, str(x.shape[1])],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        seconds = {"scikit-learn": [], "samtone": []}
        for _ in range(options.repeat):
            tsne = TSNE(perplexity=30, random_state=0)
            start = time.perf_counter()
            plane = tsne.fit_transform(x)
            seconds["scikit-learn"].append(time.perf_counter() - start)
            ours.stdin.write("\n")
            ours.stdin.flush()
            seconds["samtone"].append(float(ours.stdout.readline()))
        divergence, *rows = ours.communicate()[0].splitlines()
    planes = {"scikit-learn": (tsne.kl_divergence_, plane),
              "samtone": (float(divergence), np.array([row.split() for row in rows], dtype=float))}
    print(f"\n{name}: {x.shape[0]} points of {x.shape[1]} numbers")
    for who, (divergence, plane) in planes.items():
        kept = [trustworthiness(x, plane, n_neighbors=k) for k in (10, 30)]
        print(f"{who:13} trustworthiness@10 {kept[0]:.4f}, @30 {kept[1]:.4f}, "
              f"KL {divergence:.4f} nats, median {np.median(seconds[who]):.2f} s, "
              f"best {min(seconds[who]):.2f} s")


print(f"scikit-learn {sklearn.__version__}, {options.threads} threads; samtone, 1 thread; "
      f"{options.repeat} rounds")
for given in options.sets:
    name, paths = given.split("=", 1)
    compare(name, points(paths.split(",")))
