"""Made texts, for machines that have no data: the same on every one."""

import random


class Words:
    """Texts of words that each are one token of a WordPiece tokenizer."""

    def __init__(self, vocabulary, seed=0):
        is_word = lambda token: token.isascii() and token.isalpha() and len(token) > 2
        self.words = sorted(filter(is_word, vocabulary))
        self.random = random.Random(seed)

    def text(self, tokens):
        """A text of `tokens` tokens, the two around it included."""
        return " ".join(self.random.choices(self.words, k=tokens - 2))

    def ragged(self, middle, most):
        """A text whose length varies about `middle` tokens as that of sentences does."""
        tokens = round(middle * self.random.lognormvariate(0.0, 0.5))
        return self.text(min(max(tokens, 4), most))


def zipf(passages, queries, vocabulary=3_000_000, seed=0):
    """Passages of 20 to 50 content words, the word of rank r about as often as 1/r, and queries of 2 to 6
    words of one passage each."""
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths = rng.integers(20, 51, passages)
    ends = np.cumsum(lengths)
    # The 32 most frequent ranks are those of function words, which are left out.
    ranks = (32 * (vocabulary / 32) ** rng.random(ends[-1])).astype(np.int64)
    texts = (ranks[end - length : end] for end, length in zip(ends, lengths))
    asked = zip(rng.integers(0, passages, queries), rng.integers(2, 7, queries))
    name = lambda ranks: " ".join(f"w{rank}" for rank in ranks)
    asked = [name(rng.choice(ranks[ends[i] - lengths[i] : ends[i]], count)) for i, count in asked]
    return (name(text) for text in texts), asked


def near(count, centres, noise, rng):
    """Unit rows that each are one of `centres` and something of about the length `noise`."""
    import numpy as np

    dim = centres.shape[1]
    rows = rng.standard_normal((count, dim), dtype=np.float32) * np.float32(noise / dim**0.5)
    rows += centres[rng.integers(len(centres), size=count)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def encoding(folder, side, rows):
    """Rows as a folder that `samtone encode` might have written."""
    import json

    from safetensors.numpy import save_file

    folder.mkdir()
    save_file({"embeddings": rows}, folder / "embeddings.safetensors")
    (folder / "ids.txt").write_text("".join(f"{side[0]}{i}\n" for i in range(len(rows))))
    record = {"model": "made", "input": "made", "side": side, "similarity": "cosine"}
    (folder / "encode.json").write_text(json.dumps(record))
