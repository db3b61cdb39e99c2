"""Peak memory and time of training steps: whole models and adapters, short texts and long, beside PyTorch.

    cargo build --release -p samtone
    python benches/peers/memory.py target/release/samtone [--only mpnet] [--steps 3]

Pairs of a query and a document of one batch, loss and AdamW's step included; weights are random, texts made.
MPNet-base's and BERT-base's shape on 64 pairs of 128 tokens each side; ModernBERT-base's on one pair of a
short query and a document of 8,192 tokens. Adapters have rank 16, on the maps of queries and values.

Memory is the most that the process held (the system's ru_maxrss), loading included; a second is one of the
quickest step. PyTorch's attention is sdpa, its layers are computed again by transformers' gradient
checkpointing, which MPNet lacks. A dash: not tried, or failed. `chunk`: pairs whose activations exist at once
(gradient caching). Needs what parity_adapters.txt lists. Prints rows of a table.
"""

import argparse
import gzip
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

# The class's name, what differs from its defaults, PyTorch's attention, the adapters' targets, pairs, and
# the tokens of queries and documents.
SHAPES = {
    "mpnet": ("MPNet", {}, "eager", ["attn.q", "attn.v"], 64, 128, 128),
    "bert": ("Bert", {}, "sdpa", ["query", "value"], 64, 128, 128),
    "modernbert": ("ModernBert", {}, "sdpa", ["Wqkv"], 1, 16, 8192),
}
NAMES = {
    "mpnet": "MPNet-base, 64 pairs of 128 + 128 tokens",
    "bert": "BERT-base, 64 pairs of 128 + 128 tokens",
    "modernbert": "ModernBERT-base, one of 16 + 8,192",
}
# What is measured of each: what is trained, what is computed again, pairs whose activations exist at once,
# the optimiser, and whether PyTorch does the like in memory that machines have.
ROWS = {
    "mpnet": [
        ("all", "none", 64, "adamw", False),
        ("adapters", "none", 64, "adamw", False),
        ("all", "layers", 64, "adamw", False),
        ("adapters", "layers", 64, "adamw", False),
        ("all", "none", 8, "adamw", False),
        ("adapters", "none", 8, "adamw", False),
    ],
    "bert": [("all", "layers", 64, "adamw", True), ("adapters", "layers", 64, "adamw", True)],
    "modernbert": [
        ("all", "layers", 1, "adamw", True),
        ("all", "layers", 1, "adafactor", False),
        ("adapters", "layers", 1, "adamw", True),
    ],
}
WORDS = [f"w{i}" for i in range(1000)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("program", help="samtone's binary")
parser.add_argument("--only", choices=SHAPES)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--peer", nargs=3, metavar=("FOLDER", "KIND", "RECOMPUTE"), help="PyTorch's side alone")
options = parser.parse_args()
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}


def make(shape, folder):
    """A model folder of random weights, and pairs in BEIR layout."""
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    kind, sizes, _, _, pairs, query, document = SHAPES[shape]
    own = Tokenizer(models.WordLevel({t: i for i, t in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    own.add_special_tokens(SPECIAL)
    names = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], SPECIAL))
    tf.PreTrainedTokenizerFast(tokenizer_object=own, **names).save_pretrained(folder)
    special = dict(pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
    pooler = {"add_pooling_layer": False} if kind in ("MPNet", "Bert") else {}
    getattr(tf, f"{kind}Model")(getattr(tf, f"{kind}Config")(**sizes, **special), **pooler).save_pretrained(folder)
    drawn = random.Random(0)
    (folder / "data/qrels").mkdir(parents=True)
    for name, tokens in {"queries": query, "corpus": document}.items():
        with gzip.open(folder / f"data/{name}.jsonl.gz", "wt") as lines:
            for i in range(4 * pairs):
                text = " ".join(drawn.choices(WORDS, k=tokens - 2))
                lines.write(json.dumps({"_id": str(i), "title": "", "text": text}) + "\n")
    rows = "".join(f"{i}\t{i}\t1\n" for i in range(4 * pairs))
    (folder / "data/qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)


def ours(shape, folder, kind, recompute, chunk, optimizer):
    """Bytes, and seconds of a step."""
    _, _, _, targets, pairs, query, document = SHAPES[shape]
    settings = [
        f'data.train="{folder}/data"',
        'data.document_text="text"',
        'data.dev_split=""',
        'data.test_split=""',
        f'model.path="{folder}"',
        f"model.query_max_len={query}",
        f"model.document_max_len={document}",
        'loss.preset="in-batch"',
        f"train.batch_size={pairs}",
        f"train.chunk={chunk}",
        f"train.steps={options.steps}",
        f'train.recompute="{recompute}"',
        f'train.optimizer="{optimizer}"',
        "train.log_every=1",
    ]
    if kind == "adapters":
        settings += ["model.adapter.r=16", f"model.adapter.targets={json.dumps(targets)}"]
    with tempfile.TemporaryDirectory(dir=folder) as run:
        command = [options.program, "train", "--run-dir", f"{run}/run", "--format", "json"]
        for setting in settings:
            command += ["--set", setting]
        log = open(f"{run}/log", "w+")
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            log.seek(0)
            sys.exit(log.read())
        environment = json.loads(pathlib.Path(run, "run/environment.json").read_text())
        return usage.ru_maxrss * 1024, pairs / environment["pairs_per_second"]


def peer(folder, kind, recompute):
    """PyTorch's side, in a process of its own."""
    import torch
    import transformers as tf

    class_, _, attention, targets, pairs, query, document = SHAPES[options.only]
    pooler = {"add_pooling_layer": False} if class_ in ("MPNet", "Bert") else {}
    model = getattr(tf, f"{class_}Model").from_pretrained(folder, attn_implementation=attention, **pooler)
    model.train()
    if recompute == "layers":
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.config.use_cache = False
    if kind == "adapters":
        from peft import LoraConfig, get_peft_model

        if recompute == "layers":
            model.enable_input_require_grads()
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    ids = lambda tokens: torch.randint(5, 1000, (pairs, tokens), generator=torch.Generator().manual_seed(0))
    embed = lambda x: torch.nn.functional.normalize(
        model(input_ids=x, attention_mask=torch.ones_like(x)).last_hidden_state.mean(1), dim=1
    )
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        scores = embed(ids(query)) @ embed(ids(document)).T / 0.05
        torch.nn.functional.cross_entropy(scores, torch.arange(pairs)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, min(seconds)]))


def theirs(shape, folder, kind, recompute):
    command = [sys.executable, __file__, options.program, "--only", shape, "--steps", str(options.steps)]
    command += ["--peer", str(folder), kind, recompute]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        return float("nan"), float("nan")
    return json.loads(done.stdout.splitlines()[-1])


if options.peer:
    peer(*options.peer)
    sys.exit()
print("| | trained | optimiser | computed again | chunk | samtone, MB | PyTorch, MB | samtone, s | PyTorch, s |")
print("|---|---|---|---|---:|---:|---:|---:|---:|")
for shape in [options.only] if options.only else SHAPES:
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # By a process of its own: who is started by one counts what that one held at its start.
        child = os.fork()
        if child == 0:
            make(shape, folder)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            sys.exit("the model was not made")
        for kind, recompute, chunk, optimizer, has_peer in ROWS[shape]:
            cells = [ours(shape, folder, kind, recompute, chunk, optimizer)]
            cells.append(theirs(shape, folder, kind, recompute) if has_peer else (float("nan"),) * 2)
            number = lambda x, digits: "–" if x != x else f"{x:,.{digits}f}"
            memory = " | ".join(number(bytes / 1e6, 0) for bytes, _ in cells)
            seconds = " | ".join(number(seconds, 1) for _, seconds in cells)
            again = {"layers": "layers", "none": "nothing"}[recompute]
            cells = f"{NAMES[shape]} | {kind} | {optimizer} | {again} | {chunk} | {memory} | {seconds}"
            print(f"| {cells} |", flush=True)
