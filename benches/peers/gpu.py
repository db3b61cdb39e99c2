"""samtone beside PyTorch on one GPU: the loss, training steps and encoding. Called by benches/gpu.sh.

    python gpu.py ./samtone loss 16384x768 65536x768
    python gpu.py ./samtone encoder minilm bert-base
    python gpu.py ./samtone --tiny encoder minilm        on the CPU, tiny: a trial of this file

Every row is printed as it is measured: the median of synchronised runs, and the memory. PyTorch's
memory is the most that its allocator held; samtone's is what the device holds more while it runs,
its context and kernels too, which the row `8 rows` shows by themselves. `f32` is exact on PyTorch's
side, `tf32` lets its products round their factors. bf16 is autocast there for the encoders, whose
attention is `sdpa`.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("program")
parser.add_argument("what", choices=["loss", "encoder"])
parser.add_argument("sizes", nargs="+")
parser.add_argument("--tiny", action="store_true")
options = parser.parse_args()

import torch
import torch.nn.functional as F

TINY = options.tiny
DEVICE = "cpu" if TINY else "cuda"
BACKEND = "flex" if TINY else "cuda"
SHAPES = {
    "minilm": dict(hidden=384, layers=6, heads=12, intermediate=1536),
    "bert-base": dict(hidden=768, layers=12, heads=12, intermediate=3072),
}
TYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
VOCABULARY = 8192
BATCH, LENGTH, STEPS, TEXTS, PRODUCT = 128, 64, 60, (2_560, 25_600), 8192
if TINY:
    SHAPES = {name: dict(hidden=32, layers=1, heads=2, intermediate=64) for name in SHAPES}
    BATCH, LENGTH, STEPS, TEXTS, PRODUCT = 8, 16, 6, (64, 256), 256
WARM_UP, REPEAT, ENOUGH = 3, 20, 4.0


def row(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def header(*cells):
    row(*cells)
    print("|---" * len(cells) + "|", flush=True)


def precision(kind):
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    return TYPES[kind]


def synchronize():
    if not TINY:
        torch.cuda.synchronize()


def forget():
    if not TINY:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def held():
    return "" if TINY else f"{torch.cuda.max_memory_reserved() / 1e6:.0f}"


def seconds(work):
    """The median of up to REPEAT runs, of as many as ENOUGH seconds hold."""
    found = []
    began = time.perf_counter()
    for turn in range(WARM_UP + REPEAT):
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        now = time.perf_counter()
        if turn >= WARM_UP:
            found.append(now - start)
        if found and now - began > ENOUGH:
            break
    return statistics.median(found)


def torch_row(cells, work, show):
    """A row of what PyTorch does, or of why it does not."""
    forget()
    try:
        taken = seconds(work)
        row(*cells, *show(taken), held())
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
        row(*cells, type(error).__name__, "", held())


def samtone(*arguments):
    """What samtone prints, and the most that the device held beside what it held before, in MB."""
    forget()
    command = [options.program, *map(str, arguments), "--backend", BACKEND, "--format", "json"]
    in_use = lambda: 0 if TINY else -torch.cuda.mem_get_info()[0]
    before = most = in_use()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        out = []
        reader = threading.Thread(target=lambda: out.append(process.stdout.read()))
        reader.start()
        while process.poll() is None:
            most = max(most, in_use())
            time.sleep(0.005)
        reader.join()
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}")
    return json.loads(out[0].splitlines()[-1]), "" if TINY else f"{(most - before) / 1e6:.0f}"


def samtone_row(cells, work):
    """A row of what samtone does, or of that it does not: the log says why."""
    try:
        row(*cells, *work())
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
        row(*cells, f"failed: {error}", "", "")


def products():
    header("product", "size", "type", "TFLOP/s")
    for kind in TYPES:
        dtype = precision(kind)
        a, b = (torch.randn(PRODUCT, PRODUCT, device=DEVICE, dtype=dtype) for _ in range(2))
        rate = 2 * PRODUCT**3 / seconds(lambda: a @ b) / 1e12
        row("PyTorch", PRODUCT, kind, f"{rate:.3g}")
    print(flush=True)


def samtone_query(queries, documents, scale=20.0):
    q, d = F.normalize(queries), F.normalize(documents)
    same = (q @ q.T * scale).fill_diagonal_(float("-inf"))
    logits = torch.cat([q @ d.T * scale, same], 1).float()
    return F.cross_entropy(logits, torch.arange(len(q), device=q.device))


def loss(sizes):
    products()
    header("`samtone-query`", "side", "type", "ms", "TFLOP/s", "memory, MB")

    def ours(size, kind):
        found, memory = samtone(
            "loss", "--random", size, "--preset", "samtone-query", "--precision", kind
        )
        return f"{found['seconds_median'] * 1e3:.2f}", f"{found['gflops'] / 1e3:.3g}", memory

    for size in ["8x8", *sizes]:
        rows, dim = map(int, size.split("x"))
        work = f"{rows} × {dim}" if size in sizes else "8 rows"
        for kind in ("f32", "bf16") if size in sizes else ("f32",):
            samtone_row((work, "samtone", kind), lambda: ours(size, kind))
    for size in sizes:
        rows, dim = map(int, size.split("x"))
        # Two blocks of scores, and two products back for each.
        flops = 2 * 3 * 2 * rows * rows * dim
        show = lambda taken: (f"{taken * 1e3:.2f}", f"{flops / taken / 1e12:.3g}")
        for name, kinds in (("eager", TYPES), ("torch.compile", ("f32", "bf16"))):
            for kind in kinds:
                dtype = precision(kind)
                queries, documents = (
                    torch.randn(rows, dim, device=DEVICE, dtype=dtype, requires_grad=True)
                    for _ in range(2)
                )
                function = samtone_query
                if name != "eager":
                    torch._dynamo.reset()
                    function = torch.compile(samtone_query, dynamic=False)

                def step():
                    queries.grad = documents.grad = None
                    function(queries, documents).backward()

                torch_row((f"{rows} × {dim}", f"PyTorch, {name}", kind), step, show)


def bert(shape):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        intermediate_size=shape["intermediate"],
        attn_implementation="sdpa",
    )
    return BertModel(config, add_pooling_layer=False).to(DEVICE)


def embed(model, ids):
    return F.normalize(model(input_ids=ids).last_hidden_state.mean(1).float(), dim=1)


def texts(count):
    """Texts of more words than are read: every row is LENGTH tokens long."""
    draw = random.Random(0)
    for _ in range(count):
        yield " ".join(f"w{draw.randrange(4000)}" for _ in range(2 * LENGTH))


def trained(shape, folder, kind):
    """The run folder of STEPS steps, and the memory."""
    lines, made = [], texts(2 * BATCH * STEPS)
    for query in made:
        lines.append(json.dumps({"query": query, "positive": next(made)}))
    pairs, config = folder / "pairs.jsonl", folder / "config.toml"
    pairs.write_text("\n".join(lines) + "\n")
    config.write_text("")
    settings = {f"model.encoder.{key}": value for key, value in shape.items()}
    settings |= {
        "data.train": pairs,
        "model.encoder.type": "bert",
        "model.encoder.vocab_size": VOCABULARY,
        "model.query_max_len": LENGTH,
        "model.document_max_len": LENGTH,
        "loss.preset": "samtone",
        "train.precision": kind,
        "train.steps": STEPS,
        "train.batch_size": BATCH,
        "train.chunk": BATCH,
        "train.log_every": 1,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run = folder / f"run-{kind}"
    _, memory = samtone("train", "--config", config, "--run-dir", run, *sets)
    return run, memory


def step_seconds(run):
    """The mean of the last two thirds of the steps."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "pairs_per_second" in line]
    since = lambda line: line["step"] * BATCH / line["pairs_per_second"]
    first, last = lines[len(lines) // 3], lines[-1]
    return (since(last) - since(first)) / (last["step"] - first["step"])


def encode(model, folder, kind):
    """Texts a second, what precedes the first of them left out: two corpora apart."""
    taken = []
    for count in TEXTS:
        corpus = folder / "corpus.jsonl"
        lines = (
            json.dumps({"_id": str(at), "title": "", "text": text})
            for at, text in enumerate(texts(count))
        )
        corpus.write_text("\n".join(lines) + "\n")
        found, memory = samtone(
            "encode", "--model", model, "--input", corpus, "--side", "document",
            "--out", folder / f"embeddings-{kind}-{count}",
            "--batch-tokens", BATCH * LENGTH, "--precision", kind,
        )
        taken.append(count / found["texts_per_second"])
    return (TEXTS[1] - TEXTS[0]) / (taken[1] - taken[0]), memory


def encoder(names):
    for name in names:
        header(f"{name}, {BATCH} × {LENGTH} tokens", "side", "type", "a step, ms", "texts/s", "memory, MB")
        shape = SHAPES[name]
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)

            def step_of(kind):
                run, memory = trained(shape, folder, kind)
                return f"{step_seconds(run) * 1e3:.1f}", "", memory

            def texts_of(kind):
                rate, memory = encode(folder / "run-f32" / "model", folder, kind)
                return "", f"{rate:.0f}", memory

            for kind in ("f32", "bf16"):
                samtone_row(("training", "samtone", kind), lambda: step_of(kind))
            torch_steps(shape)
            for kind in ("f32", "bf16"):
                samtone_row(
                    ("encoding, tokenising included", "samtone", kind), lambda: texts_of(kind)
                )
            torch_texts(shape)
        print(flush=True)


def torch_steps(shape):
    model = bert(shape).train()
    update = torch.optim.AdamW(model.parameters(), lr=1e-4)
    queries, documents = tokens(), tokens()
    for kind in TYPES:
        dtype = precision(kind)

        def step():
            update.zero_grad(set_to_none=True)
            with torch.autocast(DEVICE, dtype, enabled=kind == "bf16"):
                q, d = embed(model, queries), embed(model, documents)
            (samtone_query(q, d) + samtone_query(d, q)).backward()
            update.step()

        show = lambda taken: (f"{taken * 1e3:.1f}", "")
        torch_row(("training", "PyTorch, eager", kind), step, show)


def torch_texts(shape):
    model, ids = bert(shape).eval(), tokens()
    for kind in TYPES:
        dtype = precision(kind)

        def step():
            with torch.no_grad(), torch.autocast(DEVICE, dtype, enabled=kind == "bf16"):
                embed(model, ids)

        show = lambda taken: ("", f"{BATCH / taken:.0f}")
        torch_row(("encoding, of tokens", "PyTorch, eager", kind), step, show)


def tokens():
    return torch.randint(0, VOCABULARY, (BATCH, LENGTH), device=DEVICE)


where = "the CPU" if TINY else torch.cuda.get_device_name()
print(f"PyTorch {torch.__version__} on {where}\n", flush=True)
{"loss": loss, "encoder": encoder}[options.what](options.sizes)
