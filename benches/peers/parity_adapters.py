"""Adapters of low rank: samtone beside sentence-transformers with peft, both ways.

    cargo xtask parity adapters
    python benches/peers/parity_adapters.py target/release/samtone

On a tiny BERT, Qwen3, ModernBERT and T5 of random weights: an adapter that peft made, saved by
sentence-transformers and alone, is opened by samtone; what `samtone train` makes (one adapter, and two on
one base) is opened by sentence-transformers, as it is, merged, and merged as a router. Prints the largest
difference of an element of unit vectors in each case, and fails where one is above DIFFERENCE. Needs what
parity_adapters.txt lists: transformers 5.23, for 5.24 asks for a peft that PyPI has not.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

#: f32 arithmetic in another order.
DIFFERENCE = 1e-5

WORDS = "the mill by old well runs on water and dry which does not miller grinds corn river".split()
QUERIES = ["which well runs dry", "the miller grinds corn", "does water run"]
DOCUMENTS = ["the old well by the mill runs dry", "corn and water", "the river runs by the old mill"]
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
T5 = dict(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu")
# The encoder, its configuration, the modules with adapters, and which biases are trained beside them.
KINDS = {
    "bert": (tf.BertModel, dict(max_position_embeddings=40, **SIZES), ["query", "value", "dense"], "all"),
    "qwen3": (
        tf.Qwen3Model,
        dict(num_key_value_heads=1, head_dim=8, **SIZES),
        ["q_proj", "v_proj", "down_proj"],
        "none",
    ),
    "modernbert": (tf.ModernBertModel, dict(max_position_embeddings=64, **SIZES), ["Wqkv", "Wi", "Wo"], "none"),
    "t5": (tf.T5EncoderModel, T5, ["q", "v", "wo"], "none"),
}


def tokenizer():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    made = Tokenizer(models.WordLevel({token: id for id, token in enumerate(tokens)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(tokens[:5])
    names = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], tokens))
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=32, **names), len(tokens)


def base(kind, folder):
    encoder, sizes, _, _ = KINDS[kind]
    own, size = tokenizer()
    special = dict(pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
    torch.manual_seed(0)
    encoder = encoder(encoder.config_class(vocab_size=size, **sizes, **special))
    for parameter in encoder.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    plain = folder / "encoder"
    encoder.save_pretrained(plain)
    own.save_pretrained(plain)
    transformer = Transformer(str(plain))
    stages = [transformer, Pooling(encoder.config.hidden_size, "mean"), Normalize()]
    SentenceTransformer(modules=stages, device="cpu").save(str(folder / "base"))
    return folder / "base"


class Samtone:
    def __init__(self, program, home):
        self.program, self.home = str(pathlib.Path(program).resolve()), home

    def __call__(self, *words):
        subprocess.run([self.program, *map(str, words)], check=True, capture_output=True, text=True)

    def vectors(self, model):
        found = []
        for side, texts in [("query", QUERIES), ("document", DOCUMENTS)]:
            lines = self.home / f"{side}.jsonl"
            lines.write_text("".join(json.dumps({"_id": str(i), "text": x}) + "\n" for i, x in enumerate(texts)))
            out = tempfile.mkdtemp(dir=self.home)
            self("encode", "--model", model, "--input", lines, "--side", side, "--out", f"{out}/of")
            found.append(load_file(f"{out}/of/embeddings.safetensors")["embeddings"])
        return np.concatenate(found)


def theirs(folder):
    folder = pathlib.Path(folder)
    open_ = lambda path: SentenceTransformer(str(path), device="cpu")
    if (folder / "query").exists():
        query, document = open_(folder / "query"), open_(folder / "document")
    else:
        query = document = open_(folder)
    return np.concatenate([query.encode_query(QUERIES), document.encode_document(DOCUMENTS)])


def adapted(kind, source, folder):
    """A folder of sentence-transformers' with a random adapter of peft's, and the adapter alone."""
    encoder, _, targets, bias = KINDS[kind]
    settings = LoraConfig(task_type="FEATURE_EXTRACTION", r=3, lora_alpha=7, target_modules=targets, bias=bias)

    def shake(model):
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_" in name or (bias == "all" and name.endswith(".bias")):
                parameter.data = 0.2 * torch.randn_like(parameter)

    model = SentenceTransformer(str(source), device="cpu")
    model.add_adapter(settings)
    shake(model)
    vectors = np.concatenate([model.encode_query(QUERIES), model.encode_document(DOCUMENTS)])
    model.save(str(folder / "stages"))
    wrapped = get_peft_model(encoder.from_pretrained(source), settings)
    shake(wrapped)
    wrapped.save_pretrained(folder / "alone")
    return vectors


def trained(samtone, kind, source, sharing, folder):
    data = folder / "pairs.jsonl"
    pairs = [{"query": query, "positive": text} for query, text in zip(QUERIES, DOCUMENTS)]
    data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    config = folder / f"{sharing}.toml"
    config.write_text(f"""
        [data]
        train = "{data}"
        [model]
        path = "{source}"
        sharing = "{sharing}"
        [model.adapter]
        r = 3
        targets = {json.dumps(KINDS[kind][2])}
        bias = "{KINDS[kind][3] if sharing == "sde" else "none"}"
        [train]
        steps = 6
        batch_size = 3
        lr = 0.05
        warmup = 0
    """)
    samtone("train", "--config", config, "--run-dir", folder / sharing)
    return folder / sharing / "model"


def main(program):
    worst = 0.0

    def compare(what, ours, others):
        nonlocal worst
        difference = float(np.abs(ours - others).max())
        worst = max(worst, difference)
        print(f"{what:50} {difference:.1e}", flush=True)

    for kind in KINDS:
        with tempfile.TemporaryDirectory() as home:
            home = pathlib.Path(home)
            samtone = Samtone(program, home)
            source = base(kind, home)
            plain = theirs(source)
            compare(f"{kind}: the base", samtone.vectors(source), plain)
            vectors = adapted(kind, source, home)
            assert np.abs(vectors - plain).max() > 0.01, "the adapter changes nothing"
            compare(f"{kind}: peft's, in a folder of stages", samtone.vectors(home / "stages"), vectors)
            compare(f"{kind}: peft's, alone", samtone.vectors(home / "alone"), vectors)
            samtone("export", "--model", home / "stages", "--merge", "--out", home / "merged")
            compare(f"{kind}: peft's, merged by samtone", theirs(home / "merged"), vectors)
            for sharing in ["sde", "ade-adapter"]:
                model = trained(samtone, kind, source, sharing, home)
                ours = samtone.vectors(model)
                assert np.abs(ours - plain).max() > 0.01, "nothing was learned"
                compare(f"{kind}: samtone's, {sharing}", theirs(model), ours)
                for name, words in [
                    ("merged", ["--merge"]),
                    ("merged router", ["--merge", "--layout", "router"]),
                ]:
                    out = home / f"{sharing}-{name.replace(' ', '-')}"
                    samtone("export", "--model", model, *words, "--out", out)
                    compare(f"{kind}: samtone's, {sharing}, {name}", theirs(out), ours)
    if worst > DIFFERENCE:
        sys.exit(f"they differ by {worst:.1e}, more than {DIFFERENCE:.0e}")


if __name__ == "__main__":
    main(sys.argv[1])
