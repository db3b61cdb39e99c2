"""Writes the embeddings of loss.trycmd: `E(a)_ij = sin(a + 1.7i + 0.9j + 0.31ij)`, 4x5, in f64.

    python make.py        (plain Python; the values are those of crates/samtone-loss/tests/loss/reference.rs)
"""

import json
import math
import pathlib
import struct

here = pathlib.Path(__file__).parent


def wave(a):
    return [math.sin(a + 1.7 * i + 0.9 * j + 0.31 * i * j) for i in range(4) for j in range(5)]


def write(name, tensors):
    header, body = {}, b""
    for key, (kind, shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}{'d' if kind == 'F64' else 'q'}", *values)
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    (here / name).write_bytes(struct.pack("<Q", len(head)) + head + body)


queries, documents, hard = ("F64", [4, 5], wave(0)), ("F64", [4, 5], wave(1)), ("F64", [4, 1, 5], wave(2))
write("pairs.safetensors", {"queries": queries, "documents": documents})
write("triples.safetensors", {"queries": queries, "documents": documents, "hard_negatives": hard})
ids = ("I64", [4], [7, 8, 7, 9])
write("ids.safetensors", {"queries": queries, "documents": documents, "query_ids": ids})
broken = wave(1)
broken[12] = math.nan
write("broken.safetensors", {"queries": queries, "documents": ("F64", [4, 5], broken)})
write("half.safetensors", {"queries": queries})
write("typo.safetensors", {"queries": queries, "documents": documents, "query_id": ids})
