"""samtone beside PyTorch on one GPU: the loss, a training step, encoding. Called by benches/gpu.sh.

    python gpu.py loss ./samtone 16384x768 65536x768
    python gpu.py train ./samtone bert-base
    python gpu.py encode ./samtone minilm

Medians of synchronised runs. The peak is that of one large product in the same process and type.
"""

import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

SHAPES = {
    "minilm": dict(hidden=384, layers=6, heads=12, intermediate=1536),
    "bert-base": dict(hidden=768, layers=12, heads=12, intermediate=3072),
}
BATCH, LENGTH, REPEAT = 128, 64, 20


def seconds(work, repeat=REPEAT):
    found = []
    for turn in range(repeat + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if turn >= 3:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def samtone(binary, *arguments):
    command = [binary, *map(str, arguments), "--backend", "cuda", "--format", "json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def peak(dtype, size=8192):
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b) / 1e12


def samtone_query(queries, documents, scale=20.0):
    q, d = F.normalize(queries), F.normalize(documents)
    same = (q @ q.T * scale).fill_diagonal_(float("-inf"))
    logits = torch.cat([q @ d.T * scale, same], 1).float()
    return F.cross_entropy(logits, torch.arange(len(q), device=q.device))


def loss(binary, sizes):
    for dtype in (torch.float32, torch.bfloat16):
        print(f"{dtype}: peak of a product {peak(dtype):.1f} TFLOP/s")
    for size in sizes:
        rows, dim = map(int, size.split("x"))
        ours = samtone(binary, "loss", "--random", size, "--preset", "samtone-query")
        print(f"{size} samtone f32: {ours['seconds_median'] * 1e3:.2f} ms, {ours['gflops'] / 1e3:.2f} TFLOP/s")
        for dtype in (torch.float32, torch.bfloat16):
            make = lambda: torch.randn(rows, dim, device="cuda", dtype=dtype, requires_grad=True)
            queries, documents = make(), make()
            for name, function in (("eager", samtone_query), ("compile", torch.compile(samtone_query))):

                def step():
                    queries.grad = documents.grad = None
                    function(queries, documents).backward()

                try:
                    print(f"{size} torch {name} {dtype}: {seconds(step) * 1e3:.2f} ms")
                except torch.cuda.OutOfMemoryError:
                    print(f"{size} torch {name} {dtype}: out of memory")
                torch.cuda.empty_cache()


def model(shape):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=8192,
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        intermediate_size=shape["intermediate"],
    )
    return BertModel(config, add_pooling_layer=False).cuda()


def embed(bert, ids):
    return F.normalize(bert(input_ids=ids).last_hidden_state.mean(1), dim=1)


def pairs(folder, count):
    """Texts of more words than are read: every row is LENGTH tokens long."""
    draw = random.Random(0)
    text = lambda: " ".join(f"w{draw.randrange(4000)}" for _ in range(2 * LENGTH))
    path = pathlib.Path(folder) / "pairs.jsonl"
    lines = (json.dumps({"query": text(), "positive": text()}) for _ in range(count))
    path.write_text("\n".join(lines) + "\n")
    return path


def trained(binary, shape, folder, steps):
    settings = {f"model.encoder.{key}": value for key, value in shape.items()}
    settings |= {
        "data.train": pairs(folder, BATCH * steps),
        "model.encoder.type": "bert",
        "model.encoder.vocab_size": 8192,
        "model.query_max_len": LENGTH,
        "model.document_max_len": LENGTH,
        "loss.preset": "samtone",
        "train.steps": steps,
        "train.batch_size": BATCH,
        "train.chunk": BATCH,
        "train.log_every": 1,
    }
    path = pathlib.Path(folder) / "config.toml"
    path.write_text("")
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run = pathlib.Path(folder) / "run"
    samtone(binary, "train", "--config", path, "--run-dir", run, *sets)
    return run


def train(binary, name):
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        run = trained(binary, shape, folder, 60)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    since = lambda line: line["step"] * BATCH / line["pairs_per_second"]
    ours = (since(lines[-1]) - since(lines[19])) / (lines[-1]["step"] - lines[19]["step"])
    print(f"{name} samtone f32: {ours * 1e3:.1f} ms a step of {BATCH} pairs of {LENGTH} tokens")
    bert = model(shape).train()
    update = torch.optim.AdamW(bert.parameters(), lr=1e-4)
    queries, documents = (torch.randint(0, 8000, (BATCH, LENGTH), device="cuda") for _ in range(2))
    for dtype in (torch.float32, torch.bfloat16):

        def step():
            update.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                q, d = embed(bert, queries), embed(bert, documents)
            (samtone_query(q.float(), d.float()) + samtone_query(d.float(), q.float())).backward()
            update.step()

        print(f"{name} torch eager {dtype}: {seconds(step) * 1e3:.1f} ms")


def encode(binary, name):
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        run = trained(binary, shape, folder, 1)
        rows = [json.loads(line) for line in (pathlib.Path(folder) / "pairs.jsonl").read_text().splitlines()]
        corpus = pathlib.Path(folder) / "corpus.jsonl"
        documents = [row["positive"] for row in rows] * 40
        lines = (json.dumps({"_id": str(i), "title": "", "text": t}) for i, t in enumerate(documents))
        corpus.write_text("\n".join(lines) + "\n")
        out = pathlib.Path(folder) / "embeddings"
        ours = samtone(
            binary, "encode", "--model", run / "model", "--input", corpus, "--side", "document",
            "--out", out, "--batch-tokens", BATCH * LENGTH,
        )
    print(f"{name} samtone f32: {ours['texts_per_second']:.0f} texts/s of {LENGTH} tokens, tokenising included")
    bert = model(shape).eval()
    ids = torch.randint(0, 8000, (BATCH, LENGTH), device="cuda")
    with torch.no_grad():
        print(f"{name} torch eager f32: {BATCH / seconds(lambda: embed(bert, ids)):.0f} texts/s")


if __name__ == "__main__":
    command, binary, *rest = sys.argv[1:]
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name()}")
    {"loss": lambda: loss(binary, rest), "train": lambda: train(binary, *rest), "encode": lambda: encode(binary, *rest)}[command]()
