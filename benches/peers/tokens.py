"""Encodes the same texts with Python's `tokenizers` and with samtone, turn about, and prints the ratio.

    cargo build --release -p samtone-benches --bin throughput
    python benches/peers/tokens.py target/release/throughput TOKENIZER.json TEXTS --max-len 128

TEXTS is a file of one text a line. Both sides truncate to the same length and use all cores; loading
is not timed. Versions used for the record: tokenizers 0.23.3 (Python), tokenizers 0.23.2 (Rust).
"""

import argparse
import json
import statistics
import subprocess
import time

import tokenizers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samtone")
    parser.add_argument("tokenizer")
    parser.add_argument("texts")
    parser.add_argument("--max-len", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()

    tokenizer = tokenizers.Tokenizer.from_file(args.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.max_len)
    texts = open(args.texts, encoding="utf-8").read().splitlines()
    theirs, ours, tokens = [], [], set()
    for _ in range(args.repeat):
        start = time.perf_counter()
        rows = tokenizer.encode_batch_fast(texts) if hasattr(tokenizer, "encode_batch_fast") else tokenizer.encode_batch(texts)
        theirs.append(time.perf_counter() - start)
        tokens.add(sum(len(row.ids) for row in rows))
        del rows
        command = [args.samtone, "tokenize", args.tokenizer, args.texts, str(args.max_len)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        ours.append(result["seconds"])
        tokens.add(result["tokens"])
    assert len(tokens) == 1, f"the two sides disagree: {tokens}"
    theirs, ours = statistics.median(theirs), statistics.median(ours)
    print(json.dumps({
        "tokenizers": tokenizers.__version__,
        "texts": len(texts),
        "tokens": tokens.pop(),
        "python_seconds_median": round(theirs, 4),
        "samtone_seconds_median": round(ours, 4),
        "python_over_samtone": round(theirs / ours, 3),
    }))


if __name__ == "__main__":
    main()
