"""An encoder's shape, with random weights, beside PyTorch.

    cargo build --release -p samtone-benches --bin encoder_speed
    python benches/peers/encoder.py target/release/encoder_speed [--shape minilm] [--texts N]
        [--tokens N] [--precision f32 bf16] [--threads 2] [--repeat 15]

Shapes: MiniLM-L6 (32 texts of 64 tokens), mpnet-base and ModernBERT-base (8 of 128), Qwen3-0.6B (4
of 128). Passes: forward; forward and backward; the latter on ragged texts; and with dropout.

PyTorch runs `transformers`' model with eager attention and with the fused one (sdpa), where it has
both; in bf16 under autocast and with its weights in bf16. Needs torch and transformers.
"""

import contextlib
import copy

import turns

parser = turns.parser(__doc__, repeat=15)
parser.add_argument("--shape", default="minilm", choices=("minilm", "mpnet", "modernbert", "qwen3"))
parser.add_argument("--texts", type=int)
parser.add_argument("--tokens", type=int)
parser.add_argument("--precision", nargs="+", default=["f32"], choices=turns.PRECISIONS)
options = turns.parse(parser)

import torch
import transformers

torch.set_num_threads(options.threads)
MINILM = dict(
    vocab_size=30_522,
    hidden_size=384,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=1536,
)
QWEN3 = dict(
    vocab_size=151_669,
    hidden_size=1024,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=3072,
    rope_parameters={"rope_type": "default", "rope_theta": 1e6},
)
# A name, transformers' class and what differs from its default, the texts and tokens of a pass, and
# the kinds of attention (MPNet has no fused one).
SHAPES = {
    "minilm": ("MiniLM", "Bert", MINILM, (32, 64), ("eager", "sdpa")),
    "mpnet": ("MPNet-base", "MPNet", {}, (8, 128), ("eager",)),
    "modernbert": ("ModernBERT-base", "ModernBert", {}, (8, 128), ("sdpa",)),
    "qwen3": ("Qwen3-0.6B", "Qwen3", QWEN3, (4, 128), ("sdpa",)),
}
title, kind, shape, (texts, tokens), attentions = SHAPES[options.shape]
texts, tokens = options.texts or texts, options.tokens or tokens

generator = torch.Generator().manual_seed(0)
ids = torch.randint(0, 30_000, (texts, tokens), generator=generator)
lengths = torch.randint(4, tokens + 1, (texts,), generator=generator)
full = torch.ones_like(ids)
ragged = (torch.arange(tokens)[None, :] < lengths[:, None]).long()


def model(attention):
    """A model in training."""
    config = getattr(transformers, f"{kind}Config")(**shape)
    config._attn_implementation = attention
    pooler = {"add_pooling_layer": False} if kind in ("Bert", "MPNet") else {}
    return getattr(transformers, f"{kind}Model")(config, **pooler).train()


def drop(model, share):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


class Peer:
    def __init__(self, model, context=contextlib.nullcontext):
        self.model, self.context = model, context

    def embed(self, mask):
        with self.context():
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].float()
        pooled = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(pooled, dim=1)

    def forward(self):
        drop(self.model, 0.0)
        with torch.no_grad():
            return turns.timed(self.embed, full)

    def backward(self, mask=full, dropout=0.0):
        drop(self.model, dropout)
        self.model.zero_grad(set_to_none=True)
        return turns.timed(lambda: self.embed(mask).sum().backward())

    def run(self, name):
        return {
            "forward": self.forward,
            "backward": self.backward,
            "ragged": lambda: self.backward(mask=ragged),
            "dropout": lambda: self.backward(dropout=0.1),
        }[name]()


def peers(precision):
    models = {attention: model(attention) for attention in attentions}
    if precision == "f32":
        return {f"PyTorch {name}": Peer(model) for name, model in models.items()}
    found = {}
    for name, model_ in models.items():
        found[f"PyTorch {name}, autocast"] = Peer(model_, autocast)
        found[f"PyTorch {name}, bf16 weights"] = Peer(copy.deepcopy(model_).bfloat16())
    return found


PASSES = {
    "forward": "forward",
    "backward": "forward and backward",
    "ragged": "forward and backward, ragged",
}
if options.shape == "minilm":
    PASSES["dropout"] = "forward and backward, dropout 0.1"
turns.peers("torch", "transformers")
for precision in options.precision:
    samtone = turns.Program(options.program, options.shape, texts, tokens, precision)
    samtone.line()  # It is ready.
    beside = peers(precision)
    for name, words in PASSES.items():
        sides = {"samtone": lambda: samtone(name)}
        sides |= {side: lambda peer=peer: peer.run(name) for side, peer in beside.items()}
        seconds = turns.take(sides, options.repeat, warm=2)
        turns.rows(f"{title}, {texts} × {tokens} tokens: {words}", precision, seconds)
    samtone.end()
    del beside
