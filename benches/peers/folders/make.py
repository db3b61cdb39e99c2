"""Writes the data set and the folders: tiny encoders with random weights and their tokenizers."""

import json
import pathlib
import random
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

HIDDEN, DIM = 16, 8
#: Longest texts of the folders, in tokens; the longest texts have more.
LENGTH, SHORT, WIDE = 24, 20, 28
#: BERT reads fewer tokens than the longest texts have; where RoBERTa's positions end,
#: sentence-transformers fails.
POSITIONS = {"bert": 40, "roberta": 160}

WORDS = """mill grinds corn river Well water deep morning Baker bakes bread night village smith
hammers Iron horse shoes fishermen mend nets quay Tailor sews coats wool Winter bees make honey clover
Lighthouse warns Ships rocks the of by every behind before under who where what does is a in""".split()


def sentence(draw, words):
    text = " ".join(draw.choice(WORDS) for _ in range(words))
    return text[0].upper() + text[1:] + draw.choice([".", "?", "!", " …"])


def write_data(folder):
    """A data set in BEIR layout: short and long texts, capitals, odd characters, spaces at the ends.

    Returns its queries and documents, each as pairs of id and text, documents as (title, text).
    """
    draw = random.Random(1)
    documents = []
    for i in range(20):
        text = sentence(draw, draw.choice([3, 6, 9, 14, 30, 38]))
        documents.append((f"d{i}", "" if i % 5 == 0 else sentence(draw, 2), text))
    documents += [("d20", "Only a Title", ""), ("d21", "", "  naïve Façade, 東京 — €3.50 [SEP]  ")]
    queries = [(f"q{i}", sentence(draw, draw.choice([2, 4, 7, 30]))) for i in range(12)]
    queries += [("q12", " SPACES at both Ends "), ("q13", "ÆØÅ İstanbul STRASSE"), ("q14", "?")]
    lines = [json.dumps({"_id": i, "title": title, "text": text}) for i, title, text in documents]
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf8")
    lines = [json.dumps({"_id": i, "text": text}) for i, text in queries]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n", encoding="utf8")
    for split, offset in [("train", 0), ("dev", 3), ("test", 0)]:
        rows = [f"q{i}\td{(i + offset) % 22}\t1" for i in range(15)]
        if split == "test":
            rows += [f"q{i}\td{(5 * i + 7) % 22}\t1" for i in range(15)]
        table = "\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n"
        (folder / "qrels" / f"{split}.tsv").write_text(table, encoding="utf8")
    return queries, documents


# Tokenizers


def bert_tokenizer(kind):
    lower = kind.case in ("uncased", "both")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("éåæø")
    if not lower:
        letters += [letter.upper() for letter in letters]
    words = sorted({word.lower() for word in WORDS} | (set() if lower else set(WORDS)))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".?!,:…—€", *"0123456789"]
    vocabulary += [*letters, *("##" + letter for letter in letters)]
    vocabulary += [word for word in words if word not in vocabulary]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
             "mask_token": "[MASK]"}
    return tokenizer, names


def roberta_tokenizer(kind):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(["", *WORDS, "Query: Passage:"])] * 2, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>",
             "bos_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>"}
    return tokenizer, names


def t5_tokenizer(kind):
    letters = sorted(set("".join(WORDS) + "".join(WORDS).lower() + "Query: Passage.?!,éåæøTOSPAC"))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = dict.fromkeys(WORDS + [word.lower() for word in WORDS])
    pieces += [("▁" + word, -4.0) for word in words]
    pieces += [(letter, -6.0) for letter in letters if letter != " "]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        "$A </s>", "$A </s> $B </s>", [("</s>", 1)]
    )
    return tokenizer, {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


TOKENIZERS = {"bert": bert_tokenizer, "roberta": roberta_tokenizer, "t5": t5_tokenizer}
TOKENIZERS |= dict.fromkeys(["distilbert", "mpnet", "electra", "modernbert", "nomic_bert", "gte"], bert_tokenizer)
TOKENIZERS |= dict.fromkeys(["qwen2", "qwen3", "llama", "mistral", "eurobert"], roberta_tokenizer)
TOKENIZERS |= dict.fromkeys(["umt5", "gemma3_text"], t5_tokenizer)


def write_tokenizer(kind, folder):
    tokenizer, names = TOKENIZERS[kind.encoder](kind)
    if kind.tokenizer == "cutting":
        tokenizer.enable_truncation(10)
        tokenizer.enable_padding(length=12, pad_id=tokenizer.token_to_id(names["pad_token"]),
                                 pad_token=names["pad_token"])
    tokenizer.save(str(folder / "tokenizer.json"))
    classes = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer", "t5": "T5Tokenizer"}
    name = classes[kind.encoder] if kind.tokenizer_class == "own" else "PreTrainedTokenizerFast"
    config = {"tokenizer_class": name, **names}
    if name == "BertTokenizer":
        config["do_lower_case"] = kind.case in ("uncased", "both")
    lengths = {"limits": 512, "old-name": 512, "tokenizer": LENGTH, "both": WIDE, "null": WIDE}
    if kind.length in lengths:
        config["model_max_length"] = lengths[kind.length]
    write_json(folder / "tokenizer_config.json", config)
    return tokenizer.get_vocab_size()


# Encoders

LAYERS = dict(hidden_size=HIDDEN, num_hidden_layers=3, intermediate_size=32, max_position_embeddings=512)
HEADS = dict(num_attention_heads=2)
GROUPED = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=6)
#: Of transformers, by `model_type`: the classes' name and what is tiny in it.
OTHERS = {
    "distilbert": ("DistilBert", dict(dim=HIDDEN, n_layers=2, n_heads=2, hidden_dim=32)),
    "mpnet": ("MPNet", dict(LAYERS, **HEADS, max_position_embeddings=514)),
    "electra": ("Electra", dict(LAYERS, **HEADS, embedding_size=8)),
    "modernbert": ("ModernBert", dict(LAYERS, **HEADS, local_attention=6)),
    "nomic_bert": ("NomicBert", dict(LAYERS, **HEADS)),
    "gte": ("Gte", dict(LAYERS, **HEADS)),
    "eurobert": ("EuroBert", dict(LAYERS, **HEADS)),
    "qwen2": ("Qwen2", dict(LAYERS, num_attention_heads=2, num_key_value_heads=1)),
    "qwen3": ("Qwen3", dict(LAYERS, **GROUPED)),
    "llama": ("Llama", dict(LAYERS, **HEADS, rope_parameters=dict(
        rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))),
    "mistral": ("Mistral", dict(LAYERS, **GROUPED, sliding_window=5)),
    "umt5": ("UMT5", dict(d_model=HIDDEN, d_kv=8, d_ff=32, num_layers=2, num_heads=2)),
    "gemma3_text": ("Gemma3Text", dict(LAYERS, **GROUPED, query_pre_attn_scalar=6, sliding_window=6,
                                       use_bidirectional_attention=True)),
}


def encoder(kind, vocab_size, seed):
    """An encoder with random weights, norms and biases too, and its configuration."""
    torch.manual_seed(seed)
    sizes = dict(vocab_size=vocab_size, initializer_range=0.3)
    layers = dict(hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2,
                  intermediate_size=32, max_position_embeddings=POSITIONS.get(kind.encoder))
    headed = kind.weights == "headed"
    if kind.encoder == "bert":
        config = BertConfig(**sizes, **layers, pad_token_id=0)
        model = (BertForPreTraining if headed else BertModel)(config)
    elif kind.encoder == "roberta":
        config = RobertaConfig(**sizes, **layers, type_vocab_size=1, pad_token_id=1,
                               bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5)
        model = (RobertaForMaskedLM if headed else RobertaModel)(config)
    elif kind.encoder in OTHERS:
        name, keys = OTHERS[kind.encoder]
        config = getattr(transformers, f"{name}Config")(vocab_size=vocab_size, pad_token_id=0, **keys)
        suffix = {"DistilBert": "ForMaskedLM", "ModernBert": "ForMaskedLM"}.get(name, "ForCausalLM")
        encoder = "EncoderModel" if name == "UMT5" else "Model"
        model = getattr(transformers, name + (suffix if headed else encoder))(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    else:
        config = T5Config(vocab_size=vocab_size, d_model=HIDDEN, d_kv=8, d_ff=32, num_layers=2,
                          num_heads=2, initializer_factor=1.0, pad_token_id=0, eos_token_id=1,
                          decoder_start_token_id=0)
        model = (T5ForConditionalGeneration if headed else T5EncoderModel)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model, config


def write_encoder(kind, folder, vocab_size, seed):
    model, config = encoder(kind, vocab_size, seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if kind.weights == "gamma":
        weights = load_file(folder / "model.safetensors")
        for old, new in [(".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta")]:
            weights = {name.replace(old, new): tensor for name, tensor in weights.items()}
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        values = read_json(folder / "config.json")
        for key in ("layer_norm_eps", "type_vocab_size", "hidden_act"):
            del values[key]
        write_json(folder / "config.json", values)


# What sentence-transformers writes around them

PROMPTS = {
    "none": ({}, None),
    "query": ({"query": "Query: "}, None),
    "document": ({"query": "Query: ", "document": "Passage: "}, None),
    "passage": ({"query": "Query: ", "passage": "Passage: "}, None),
    "corpus": ({"query": "Query: ", "corpus": "Passage: "}, None),
    "default": ({"query": "Query: ", "document": "Passage: "}, "query"),
    "other": ({"sts": "Same: "}, "sts"),
}

OLD_NAMES = ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"]


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf8")


def read_json(path):
    return json.loads(path.read_text(encoding="utf8"))


def write_pooling(kind, path):
    """The schema before release 6, with the keys that the release knew."""
    value = {"word_embedding_dimension": HIDDEN}
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens",
             "mean_sqrt_len": "mean_sqrt_len_tokens", "weightedmean": "weightedmean_tokens",
             "lasttoken": "lasttoken"}
    on = {"pooling-max": ["max"], "pooling-two": ["cls", "mean"],
          "pooling-weightedmean": ["weightedmean"]}.get(kind.odd, [kind.pooling])
    for mode, name in modes.items():
        if kind.release > 2 or mode in on or mode not in ("weightedmean", "lasttoken"):
            value[f"pooling_mode_{name}"] = mode in on
    if kind.release > 2 or not kind.include_prompt:
        value["include_prompt"] = kind.include_prompt
    write_json(path / "config.json", value)


def write_dense(kind, path, seed):
    torch.manual_seed(seed + 1)
    weights = {"linear.weight": 0.3 * torch.randn(DIM, HIDDEN)}
    bias = kind.odd == "dense-bias"
    if bias:
        weights["linear.bias"] = torch.randn(DIM)
    activation = "activation.Tanh" if kind.odd == "dense-tanh" else "linear.Identity"
    value = {"in_features": HIDDEN, "out_features": DIM, "bias": bias,
             "activation_function": f"torch.nn.modules.{activation}"}
    write_json(path / "config.json", value)
    save_file(weights, path / "model.safetensors")


def write_folder(kind, folder, seed):
    """Writes the folder of `kind`, weights drawn from `seed`."""
    folder = pathlib.Path(folder)
    if kind.odd.startswith("router"):
        return write_router(kind, folder, seed)
    folder.mkdir(parents=True)
    vocab_size = write_tokenizer(kind, folder)
    # Like T5's, whose class adds a hundred sentinels to what the file has.
    room = 100 if kind.encoder == "t5" else 0
    write_encoder(kind, folder, vocab_size + room, seed)
    if kind.odd == "plain":
        return
    stages = ["Pooling"]
    stages += ["Dense"] if "dense" in kind.head else []
    stages += ["Normalize"] if "normalize" in kind.head else []
    if kind.odd == "normalize-first":
        stages = ["Pooling", "Normalize", "Dense"]
    elif kind.odd == "layer-norm":
        stages = ["Pooling", "LayerNorm"]
    elif kind.odd == "dense-twice":
        stages = ["Pooling", "Dense", "Dense"]
    paths = ["", *(f"{i}_{stage}" for i, stage in enumerate(stages, 1))]
    for path, stage in zip(paths[1:], stages):
        place = folder / path
        place.mkdir()
        if stage == "Pooling":
            write_pooling(kind, place)
        elif stage == "Dense":
            write_dense(kind, place, seed)
            if kind.odd == "dense-twice" and path == "3_Dense":
                write_json(place / "config.json", {**read_json(place / "config.json"), "in_features": DIM})
                save_file({"linear.weight": torch.randn(DIM, DIM)}, place / "model.safetensors")
        elif stage == "LayerNorm":
            write_json(place / "config.json", {"dimension": HIDDEN})
            torch.manual_seed(seed)
            norm = {"norm.weight": torch.randn(HIDDEN), "norm.bias": torch.randn(HIDDEN)}
            save_file(norm, place / "model.safetensors")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{stage}"}
        for i, (path, stage) in enumerate(zip(paths, ["Transformer", *stages]))
    ]
    write_json(folder / "modules.json", modules)
    write_limits(kind, folder, seed)
    write_top(kind, folder)
    if kind.release == 6:
        save_with_release_6(kind, folder)


def write_limits(kind, folder, seed):
    limits = {"do_lower_case": kind.case in ("lower", "both")}
    lengths = {"limits": LENGTH, "old-name": LENGTH, "both": SHORT, "null": None}
    if kind.length in lengths:
        limits["max_seq_length"] = lengths[kind.length]
    name = OLD_NAMES[seed % len(OLD_NAMES)] if kind.length == "old-name" else "bert"
    write_json(folder / f"sentence_{name}_config.json", limits)


def write_top(kind, folder):
    prompts, default = PROMPTS[kind.prompts]
    similarity = None if kind.similarity == "absent" else kind.similarity
    if kind.odd.startswith("similarity-"):
        similarity = kind.odd.removeprefix("similarity-")
    versions = {2: "2.2.2", 3: "3.0.1", 5: "5.1.0", 6: "5.1.0"}
    top = {"__version__": {"sentence_transformers": versions[kind.release]}}
    if prompts or kind.release > 2:
        top |= {"prompts": prompts, "default_prompt_name": default}
    if kind.release >= 5:
        top |= {"model_type": "SentenceTransformer", "prompts": {"query": "", "document": "", **prompts}}
    if similarity or kind.release > 2:
        top["similarity_fn_name"] = similarity
    if len(top) > 1:  # The first releases wrote none.
        write_json(folder / "config_sentence_transformers.json", top)


def save_with_release_6(kind, folder):
    from sentence_transformers import SentenceTransformer

    old = folder.with_name(folder.name + "-5")
    folder.rename(old)
    SentenceTransformer(str(old), device="cpu").save(str(folder), create_model_card=False)
    shutil.rmtree(old)
    edits = {
        "dense-residual": ("2_Dense/config.json", {"use_residual": True}),
        "dense-tokens": ("2_Dense/config.json", {"module_input_name": "token_embeddings",
                                                 "module_output_name": "token_embeddings"}),
        "processing-length": ("sentence_bert_config.json",
                              {"processing_kwargs": {"text": {"max_length": 9, "truncation": True}}}),
    }
    if kind.odd in edits:
        name, edit = edits[kind.odd]
        write_json(folder / name, {**read_json(folder / name), **edit})
    if kind.odd == "dense-residual":
        weights = load_file(folder / "2_Dense/model.safetensors")
        weights["residual.weight"] = torch.randn(DIM, HIDDEN)
        save_file(weights, folder / "2_Dense/model.safetensors", {"format": "pt"})
    if kind.odd == "dense-tokens":
        modules = read_json(folder / "modules.json")
        modules[1], modules[2] = modules[2], modules[1]
        write_json(folder / "modules.json", modules)


def write_router(kind, folder, seed):
    """Two towers in one folder, as release 6 saves its `Router`."""
    import dataclasses

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    towers = []
    for side in range(2):
        place = folder.with_name(f"{folder.name}-{side}")
        length = "both" if kind.odd == "router-lengths" and side == 0 else kind.length
        tower = dataclasses.replace(kind, odd="", release=5, length=length)
        write_folder(tower, place, seed + 10 * side)
        towers.append(list(SentenceTransformer(str(place), device="cpu")))
        shutil.rmtree(place)
    if kind.odd == "router-shared":
        towers[0] = towers[1]
    prompts, default = PROMPTS[kind.prompts]
    model = SentenceTransformer(
        modules=[Router.for_query_document(*towers)], device="cpu", prompts=prompts,
        default_prompt_name=default, similarity_fn_name=kind.similarity,
    )
    model.save(str(folder), create_model_card=False)
