"""An encoder's shape, with random weights, beside PyTorch.

    cargo build --release -p samtone-benches --bin encoder_speed
    python benches/peers/encoder.py target/release/encoder_speed [--shape minilm] [--texts N]
        [--tokens N] [--threads 2] [--repeat 15]

Shapes: MiniLM-L6 (32 texts of 64 tokens), mpnet-base, ModernBERT-base and Qwen3-0.6B (8 of 128).

Both sides run in turn in one process, so that whatever else the machine does meets both; medians
and the median of the ratios are printed. PyTorch runs `transformers`' model in f32, eager
attention and the fused one (sdpa) where it has both. Needs torch, transformers and numpy.
"""

import argparse
import os
import subprocess
import sys
import time

sys.path.pop(0)  # This folder's scripts have the names of packages.
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--shape", default="minilm")
parser.add_argument("--texts", type=int)
parser.add_argument("--tokens", type=int)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeat", type=int, default=15)
options = parser.parse_args()
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)

import numpy as np
import torch
import transformers

torch.set_num_threads(options.threads)
SHAPES = {
    "minilm": (
        "Bert",
        dict(
            vocab_size=30_522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
        ),
    ),
    "mpnet": ("MPNet", {}),
    "modernbert": ("ModernBert", {}),
    "qwen3": (
        "Qwen3",
        dict(
            vocab_size=151_669,
            hidden_size=1024,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
            intermediate_size=3072,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
    ),
}
kind, shape = SHAPES[options.shape]
texts = options.texts or (32 if options.shape == "minilm" else 8)
tokens = options.tokens or (64 if options.shape == "minilm" else 128)


def model(attention, dropout):
    """A model in training, which drops nothing unless asked to."""
    config = getattr(transformers, f"{kind}Config")(**shape)
    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if hasattr(config, key):
            setattr(config, key, dropout)
    config._attn_implementation = attention
    options = {"add_pooling_layer": False} if kind in ("Bert", "MPNet") else {}
    return getattr(transformers, f"{kind}Model")(config, **options).train()


# MPNet has no fused attention in transformers.
attentions = {"minilm": ("eager", "sdpa"), "mpnet": ("eager",)}.get(options.shape, ("sdpa",))
plain = {name: model(name, 0.0) for name in attentions}
dropping = model("eager", 0.1) if options.shape == "minilm" else None
generator = torch.Generator().manual_seed(0)
ids = torch.randint(0, 30_000, (texts, tokens), generator=generator)
lengths = torch.randint(4, tokens + 1, (texts,), generator=generator)
full = torch.ones_like(ids)
ragged = (torch.arange(tokens)[None, :] < lengths[:, None]).long()


def embed(model, mask):
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask[:, :, None].float()
    pooled = (states * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1)


def forward(model, mask):
    with torch.no_grad():
        embed(model, mask)


def backward(model, mask):
    model.zero_grad(set_to_none=True)
    embed(model, mask).sum().backward()


ours = subprocess.Popen(
    [options.program, options.shape, str(texts), str(tokens)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
print(ours.stdout.readline().strip(), f"(PyTorch's ragged: {int(ragged.sum())})")


def samtone(name):
    ours.stdin.write(name + "\n")
    ours.stdin.flush()
    return float(ours.stdout.readline())


def timed(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


passes = {
    "forward": {name: lambda m=m: timed(forward, m, full) for name, m in plain.items()},
    "backward": {name: lambda m=m: timed(backward, m, full) for name, m in plain.items()},
    "ragged": {name: lambda m=m: timed(backward, m, ragged) for name, m in plain.items()},
}
if dropping:
    passes["dropout"] = {"eager": lambda: timed(backward, dropping, full)}
seconds = {name: {side: [] for side in ("samtone", *sides)} for name, sides in passes.items()}
for turn in range(options.repeat + 2):
    for name, sides in passes.items():
        found = {"samtone": samtone(name)} | {side: run() for side, run in sides.items()}
        if turn >= 2:  # The first turns warm up.
            for side, value in found.items():
                seconds[name][side].append(value)
for name, sides in seconds.items():
    for side, values in sides.items():
        ratio = np.median(np.array(values) / np.array(sides["samtone"]))
        print(
            f"{name:9} {side:8} median {np.median(values):.3f} s, best {min(values):.3f} s, "
            f"{ratio:.2f} times samtone's"
        )
