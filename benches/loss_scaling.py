"""How time and memory of the loss grow with the batch: a table and what fits it.

    cargo build --release -p samtone
    python benches/loss_scaling.py target/release/samtone [--dim 384] [--preset samtone-query] [--largest 65536]

Each size runs in a process of its own, so that its peak of resident memory is its own. Plain Python.
"""

import argparse
import json
import math
import subprocess


def measure(binary, preset, rows, dim):
    repeat = max(1, min(7, 32768 // rows))
    command = [binary, "loss", "--random", f"{rows}x{dim}", "--preset", preset]
    command += ["--repeat", str(repeat), "--format", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def log(values):
    return [math.log(value) for value in values]


def line(xs, ys):
    """Intercept and slope of the least-squares line through (x, y)."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys))
    slope = products / sum((x - mean_x) ** 2 for x in xs)
    return mean_y - slope * mean_x, slope


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--preset", default="samtone-query")
    parser.add_argument("--largest", type=int, default=65536)
    arguments = parser.parse_args()
    rows, seconds, memory = [], [], []
    print("|    rows |    seconds | GFLOP/s | peak memory, MB | GB of a dense score matrix |")
    print("|---:|---:|---:|---:|---:|")
    size = 1024
    while size <= arguments.largest:
        result = measure(arguments.binary, arguments.preset, size, arguments.dim)
        dense = 2 * size * size * 4 / 1e9
        print(
            f"| {size} | {result['seconds_median']:.4f} | {result['gflops']:.0f} "
            f"| {result['peak_rss_bytes'] / 1e6:.0f} | {dense:.2f} |",
            flush=True,
        )
        rows.append(size)
        seconds.append(result["seconds_median"])
        memory.append(result["peak_rss_bytes"])
        size *= 2
    print(f"\ntime grows as N^{line(log(rows), log(seconds))[1]:.2f}")
    # The kept score tiles are a constant once they are full; embeddings and gradients are the rest.
    full = [(n, bytes) for n, bytes in zip(rows, memory) if n >= 8192]
    constant, per_row = line(*zip(*full))
    print(f"memory from N = 8192 on: {constant / 1e6:.0f} MB + {per_row / 1e3:.1f} kB a row, ", end="")
    worst = max(abs(constant + per_row * n - bytes) / bytes for n, bytes in full)
    print(f"{worst:.0%} off at most")


main()
