"""Which folders are made: every pair of what can vary stands in some kind.

A kind is one way to write a model folder that sentence-transformers opens. `every_pair` covers each
pair of values of two fields in few kinds; `ODD` are what samtone may refuse but not misread; `RUNS`
are trainings with keys of their own.
"""

import dataclasses
import itertools
import random


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a folder is written; the defaults are all-MiniLM-L6-v2's."""

    encoder: str = "bert"
    weights: str = "plain"
    case: str = "uncased"
    tokenizer: str = "plain"
    tokenizer_class: str = "any"
    pooling: str = "mean"
    prompts: str = "none"
    include_prompt: bool = True
    head: str = "normalize"
    similarity: str = "cosine"
    length: str = "limits"
    release: int = 5
    odd: str = ""

    def __str__(self):
        default = Kind()
        words = [self.encoder]
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if value != getattr(default, field.name):
                words.append({True: "", False: "no-"}[value] + field.name if isinstance(value, bool)
                             else f"{field.name}-{value}" if isinstance(value, int)
                             else f"{field.name}:{value}" if field.name in ("similarity", "length")
                             else value)
        return " ".join(words)


VALUES = {
    "encoder": ["bert", "roberta", "t5"],
    # `gamma`: norms as TensorFlow names them and a config without its defaults; `headed`: with the
    # prefix and the heads of pre-training, or T5's decoder.
    "weights": ["plain", "gamma", "headed"],
    # `lower`: the folder lower-cases before a cased tokenizer; `both`: so does the tokenizer.
    "case": ["uncased", "cased", "lower", "both"],
    # `cutting`: tokenizer.json has a truncation and a padding of its own.
    "tokenizer": ["plain", "cutting"],
    # `own`: tokenizer_config.json names the class of the encoder's family, else the one for every file.
    "tokenizer_class": ["any", "own"],
    "pooling": ["mean", "cls", "lasttoken"],
    "prompts": ["none", "query", "document", "passage", "corpus", "default", "other"],
    "include_prompt": [True, False],
    "head": ["none", "normalize", "dense", "dense+normalize"],
    "similarity": ["cosine", "dot", "absent"],
    # Where the longest text stands: sentence_bert_config.json, its older names, tokenizer_config.json,
    # two of them, or nowhere.
    "length": ["limits", "old-name", "tokenizer", "both", "null", "absent"],
    # Of sentence-transformers; 6 is saved by it, the older ones as they wrote.
    "release": [2, 3, 5, 6],
}


def is_forgetful(kind):
    """Whether sentence-transformers 6 saves it as another model.

    It writes the lower-casing into tokenizer.json, where transformers' class of the encoder's family
    does not look for it.
    """
    return kind.release == 6 and kind.case == "lower" and kind.tokenizer_class == "own"


def can_be(kind):
    """Whether some release could have written it."""
    return (
        (kind.weights != "gamma" or kind.encoder == "bert")
        and (kind.case in ("cased", "lower") or kind.encoder == "bert")
        # Saving with release 6 renames the norms and moves the length.
        and (kind.release != 6 or kind.weights != "gamma")
        and (kind.release != 6 or kind.length in ("limits", "tokenizer", "absent"))
        and (kind.release < 5 or kind.length != "old-name")
        and not is_forgetful(kind)
        and (kind.include_prompt or kind.prompts != "none")
    )


def every_pair():
    """Few kinds in which each possible pair of values occurs, the same at every call."""
    names = list(VALUES)
    draw = random.Random(0)

    def pairs(kind):
        return set(itertools.combinations(((name, getattr(kind, name)) for name in names), 2))

    def drawn():
        while True:
            kind = Kind(**{name: draw.choice(values) for name, values in VALUES.items()})
            if can_be(kind):
                return kind

    missing = set().union(*(pairs(drawn()) for _ in range(20_000)))
    kinds = []
    while missing:
        best = max((drawn() for _ in range(400)), key=lambda kind: len(pairs(kind) & missing))
        if pairs(best) & missing:
            kinds.append(best)
            missing -= pairs(best)
    return kinds


#: The other encoders, each with a pooling that suits it; the decoders look backwards alone.
ENCODERS = [
    *(Kind(encoder=encoder) for encoder in ("distilbert", "electra", "modernbert", "nomic_bert", "gte")),
    Kind(encoder="mpnet", release=2, length="both"),
    Kind(encoder="distilbert", pooling="cls", weights="headed"),
    Kind(encoder="modernbert", pooling="cls", weights="headed", head="dense+normalize"),
    Kind(encoder="umt5", case="cased", head="dense"),
    *(Kind(encoder=encoder, case="cased", pooling="lasttoken", prompts="query")
      for encoder in ("qwen3", "qwen2", "llama", "mistral")),
    Kind(encoder="qwen3", case="cased", pooling="lasttoken", weights="headed", head="none", similarity="dot"),
    Kind(encoder="eurobert", case="cased"),
    Kind(encoder="gemma3_text", case="cased", head="dense+normalize", prompts="document"),
]

#: What samtone does not have, or reads from another place: right or refused, never wrong.
ODD = [
    Kind(odd="plain"),
    Kind(odd="plain", encoder="t5", case="cased"),
    Kind(odd="pooling-max"),
    Kind(odd="pooling-two"),
    Kind(odd="pooling-weightedmean"),
    Kind(odd="dense-bias", head="dense"),
    Kind(odd="dense-tanh", head="dense"),
    Kind(odd="dense-residual", head="dense", release=6),
    Kind(odd="dense-tokens", head="dense", release=6),
    Kind(odd="dense-twice", head="dense"),
    Kind(odd="normalize-first", head="dense"),
    Kind(odd="layer-norm"),
    Kind(odd="similarity-euclidean", head="none"),
    Kind(odd="similarity-manhattan", head="none"),
    Kind(odd="processing-length", release=6),
    *(Kind(odd="forgetful", encoder=encoder, case="lower", tokenizer_class="own", release=6)
      for encoder in ("bert", "roberta", "t5")),
]

#: Two towers in one folder.
ROUTERS = [
    Kind(odd="router", release=6, prompts="document"),
    Kind(odd="router", release=6, pooling="cls", head="dense+normalize", similarity="dot"),
    Kind(odd="router-shared", release=6, head="none", similarity="dot"),
    Kind(odd="router-lengths", release=6),
]

MINI = Kind()
E5 = Kind(case="lower", prompts="document", pooling="mean", length="limits", release=3)
BGE = Kind(pooling="cls", prompts="query", release=2, length="both")
DOT = Kind(head="none", similarity="dot", pooling="cls", case="cased")
LAST = Kind(encoder="roberta", case="cased", pooling="lasttoken", prompts="document", release=6)
GTR = Kind(encoder="t5", case="cased", head="dense+normalize", length="limits", release=2)
INSTRUCTOR = Kind(encoder="t5", case="cased", head="dense+normalize", prompts="document",
                  include_prompt=False, release=3)
CASED = Kind(case="cased", head="none", similarity="absent", release=3)

SHARINGS = ["ade", "ade-ste", "ade-fte", "ade-spl"]

#: Trainings with keys: the folder that they start from and the keys.
RUNS = [
    *((start, {"model.sharing": sharing, **more})
      for start, more in [(MINI, {"model.projection": 8}), (E5, {"model.projection": 8}),
                          (BGE, {"model.projection": 8}), (DOT, {"model.projection": 8}),
                          (LAST, {"model.projection": 8}), (GTR, {}), (INSTRUCTOR, {})]
      for sharing in SHARINGS),
    *((start, {"matryoshka.dims": [4, 8, 16]}) for start in (MINI, DOT, LAST)),
    (GTR, {"matryoshka.dims": [4, 8], "model.sharing": "ade"}),
    *((start, {"data.lowercase": True}) for start in (MINI, E5, DOT, LAST, GTR, CASED)),
    *((start, {"data.lowercase": True, "model.sharing": "ade-ste"}) for start in (DOT, LAST, GTR)),
    *((start, {"loss.similarity": "dot"}) for start in (MINI, LAST, GTR, CASED)),
    *((start, {"loss.similarity": "cosine"}) for start in (DOT, CASED)),
    (CASED, {"loss.similarity": "dot", "model.sharing": "ade"}),
    *((MINI, {"model.pooling": pooling}) for pooling in ("cls", "last")),
    (BGE, {"model.pooling": "mean"}),
    (MINI, {"model.query_prompt": "Q: ", "model.document_prompt": "D: "}),
    (E5, {"model.query_prompt": "", "model.document_prompt": ""}),
    (E5, {"model.query_prompt": "Ask: "}),
    (INSTRUCTOR, {"model.document_prompt": "Represent: "}),
    (MINI, {"model.query_max_len": 12, "model.document_max_len": 12}),
    (MINI, {"model.query_max_len": 8, "model.document_max_len": 20}),
    (MINI, {"model.document_max_len": 16}),
    (E5, {"model.query_max_len": 8, "model.document_max_len": 20, "model.sharing": "ade"}),
    (MINI, {"model.normalize": False}),
    (DOT, {"model.normalize": True}),
    (GTR, {"model.normalize": False, "loss.similarity": "dot"}),
    *((start, {"model.projection": 8}) for start in (MINI, DOT)),
    *((start, {"data.document_text": "text"}) for start in (MINI, LAST)),
    (E5, {"data.document_text": "text", "model.sharing": "ade"}),
]
