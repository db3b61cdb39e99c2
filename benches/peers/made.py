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
