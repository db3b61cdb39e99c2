"""Embeddings as Parquet, read by those whom they are written for: pyarrow, DuckDB and LanceDB.

    cargo xtask parity parquet
    python benches/peers/parity_parquet.py target/release/samtone

The quick start trains a model for two steps; its documents are encoded as safetensors and as Parquet, of
every dtype, whole and in parts. Ids, texts and numbers must be the same to the bit, the vectors a list of one
length in the schema, the model card and `encode.json` in the file's metadata; DuckDB and LanceDB must find
the nearest of a row that numpy finds. Needs what parity_parquet.txt lists, and a samtone with the feature
`parquet`.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import duckdb
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

SAMTONE = str(pathlib.Path(sys.argv[1]).resolve())
TYPES = {"f32": pa.float32(), "f16": pa.float32(), "int8": pa.int8(), "binary": pa.uint8()}


def samtone(home, *arguments):
    subprocess.run([SAMTONE, *map(str, arguments)], cwd=home, check=True, stdout=subprocess.DEVNULL)


def encode(home, out, *more):
    model = ["--model", "run", "--input", "corpus.jsonl", "--side", "document"]
    samtone(home, "encode", *model, "--out", out, *more)


def compare(home, dtype):
    """The rows of one dtype in both formats."""
    folder, other = home / f"parquet-{dtype}", home / f"safetensors-{dtype}"
    encode(home, folder, "--dtype", dtype, "--out-format", "parquet")
    encode(home, other, "--dtype", dtype)
    path = folder / "embeddings.parquet"
    table = pq.read_table(path)
    expected = load_file(other / "embeddings.safetensors")["embeddings"]
    rows, dim = expected.shape

    field = table.schema.field("vector")
    assert table.schema.names == ["id", "text", "vector"], table.schema
    assert field.type == pa.list_(pa.field("item", TYPES[dtype], nullable=False), dim), field.type
    assert (field.type.list_size, table.num_rows) == (dim, rows)
    numbers = table.column("vector").combine_chunks().flatten().to_numpy().reshape(rows, dim)
    assert np.array_equal(numbers, expected.astype(numbers.dtype)), f"{dtype}: pyarrow reads other numbers"

    documents = [json.loads(line) for line in (home / "corpus.jsonl").open()]
    assert table.column("id").to_pylist() == [document["_id"] for document in documents]
    texts = [" ".join(filter(None, (document.get("title"), document["text"]))) for document in documents]
    assert table.column("text").to_pylist() == texts
    metadata = pq.ParquetFile(path).metadata.metadata
    record = json.loads((folder / "encode.json").read_text())
    assert json.loads(metadata[b"samtone.encode"]) == record
    assert metadata[b"samtone.model_card"].decode() == (home / "run/model/README.md").read_text()

    found = duckdb.sql(f"SELECT id, text, vector FROM read_parquet('{path}')").fetchnumpy()
    assert list(found["id"]) == table.column("id").to_pylist() and list(found["text"]) == texts
    assert np.array_equal(np.array(found["vector"].tolist()), numbers), f"{dtype}: DuckDB reads other numbers"
    print(f"{dtype}: {rows} rows of {dim}: pyarrow and DuckDB read ids, texts and numbers to the bit")
    return path, table, numbers


def search(home, path, table, numbers):
    """The nearest of a row by numpy, DuckDB and LanceDB."""
    query, ids = numbers[7], table.column("id").to_pylist()
    expected = [ids[at] for at in np.argsort(-(numbers @ query), kind="stable")[:5]]
    dim = numbers.shape[1]
    words = f"""SELECT id FROM read_parquet('{path}')
        ORDER BY array_inner_product(vector::FLOAT[{dim}], $1::FLOAT[{dim}]) DESC LIMIT 5"""
    by_duckdb = [row[0] for row in duckdb.execute(words, [query.tolist()]).fetchall()]
    made = lancedb.connect(home / "lance").create_table("documents", table)
    found = made.search(query, vector_column_name="vector").distance_type("dot").limit(5).to_list()
    by_lance = [row["id"] for row in found]
    assert by_duckdb == expected, (by_duckdb, expected)
    assert by_lance == expected, (by_lance, expected)
    print("the nearest five are the same by numpy, DuckDB and LanceDB")


def parts(home, table):
    """The parts of one encoding, as one table."""
    for part in (2, 1):
        encode(home, "parts", "--out-format", "parquet", "--shard", f"{part}/2")
    files = sorted(pathlib.Path(home / "parts").glob("*/embeddings.parquet"))
    assert pq.ParquetDataset(files).read().equals(table)
    print(f"{len(files)} parts are read as one table")


def main():
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        samtone(home, "train", "--set", "train.steps=2", "--run-dir", "run")
        topics = "wells mills rivers bridges bakers weavers ferries quarries".split()
        with (home / "corpus.jsonl").open("w") as corpus:
            for i in range(3000):
                topic, other = topics[i % 8], topics[i // 8 % 8]
                text = f"the {i % 97} {topic} near {i % 89} {other}, année {i}"
                title = topic.title() if i % 3 else ""
                corpus.write(json.dumps({"_id": f"d{i}", "title": title, "text": text}) + "\n")
        for dtype in TYPES:
            found = compare(home, dtype)
            if dtype == "f32":
                search(home, *found)
                parts(home, found[1])


if __name__ == "__main__":
    main()
