"""sentence-transformers behind FastAPI, as `serve.py` asks it: not run by itself."""

import asyncio
import contextlib


def main(model, port, mode, threads):
    import fastapi
    import orjson
    import torch
    import uvicorn
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(int(threads))
    encoder = SentenceTransformer(model, device="cpu")
    waiting, lock = asyncio.Queue(), asyncio.Lock()

    @contextlib.asynccontextmanager
    async def lifespan(_):
        worker = asyncio.create_task(work())
        yield
        worker.cancel()

    app = fastapi.FastAPI(lifespan=lifespan)

    def encode(texts):
        return encoder.encode(texts, batch_size=32, show_progress_bar=False)

    async def one(text):
        async with lock:
            return (await asyncio.to_thread(encode, [text]))[0]

    async def batched(text):
        answer = asyncio.get_running_loop().create_future()
        waiting.put_nowait((text, answer))
        return await answer

    async def work():
        """Encodes all that waits, at most 64 texts at once."""
        while True:
            batch = [await waiting.get()]
            while len(batch) < 64 and not waiting.empty():
                batch.append(waiting.get_nowait())
            rows = await asyncio.to_thread(encode, [text for text, _ in batch])
            for (_, answer), row in zip(batch, rows):
                if not answer.cancelled():
                    answer.set_result(row)

    @app.post("/embed")
    async def embed(request: fastapi.Request):
        text = orjson.loads(await request.body())["inputs"]
        row = await (batched if mode == "batched" else one)(text)
        body = orjson.dumps([row], option=orjson.OPT_SERIALIZE_NUMPY)
        return fastapi.Response(body, media_type="application/json")

    uvicorn.run(app, port=int(port), log_level="warning")
