"""A serving replica without vLLM: the real follower and builder, and the toy model behind the OpenAI API.

    python -m fakes.toy_server --model DIR --host HOST --port PORT

It knows what `zo check` and the story's clients ask: one token after a prompt, among the label words.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

import numpy as np
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fakes.engine import FakeEngine, ThreadBuilder
from fakes.toy import ToyScorer
from fakes.toy_shop import LABELS, HashTokenizer
from zo_runtime.adapter.replay import replay
from zo_runtime.config.storage import S3
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.serving.contract import ADAPTERS_ROUTE
from zo_runtime.serving.follower import Follower
from zo_runtime.serving.metrics import ServingMetrics
from zo_runtime.serving.settings import ServingSettings
from zo_runtime.storage.open import open_store

BASE = "base"
MAX_RANK = 128


class ToyEngine(FakeEngine):
    """`Engine` that answers: each adapter is the bank of its step, replayed from the log."""

    def __init__(self, model: Path, s3: S3):
        super().__init__(model, max_rank=MAX_RANK)
        self._s3, self.tokenizer = s3, HashTokenizer()
        self.scorers: dict[str, ToyScorer] = {}
        self.labels: dict[str, str] = {}

    async def switch(self, adapter):
        """Load the bank, then do as ever."""
        if adapter.label not in self.scorers:
            reader = LogReader(open_store(adapter.uri, self._s3))
            bank = await asyncio.to_thread(replay, reader, step=adapter.manifest.step, threads=1)
            scorer = ToyScorer(bank.layout, bank.method)
            scorer.bank = bank
            self.scorers[adapter.label] = scorer
        slot = await super().switch(adapter)
        self.labels[adapter.name] = adapter.label
        return slot

    def answer(self, name: str, prompt: str | list[int]) -> dict[int, float] | None:
        """Log-probabilities of the label words after a prompt; none for a name that is not served."""
        tokens = tuple(self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)
        if name == BASE:
            return dict.fromkeys(LABELS.values(), float(-np.log(len(LABELS))))
        if name not in self.labels:
            return None
        candidates = tuple((token,) for token in LABELS.values())
        examples = [Example(tokens, candidates, label) for label in range(len(candidates))]
        losses = self.scorers[self.labels[name]].judge(examples)
        return {token: -loss for token, (loss, _) in zip(LABELS.values(), losses, strict=True)}


def routes(engine: ToyEngine, follower: Follower, registry: CollectorRegistry) -> web.Application:
    """The server."""

    async def complete(request: web.Request) -> web.Response:
        asked = await request.json()
        found = engine.answer(asked["model"], asked["prompt"])
        if found is None:
            body = {"error": {"message": f"{asked['model']} does not exist", "type": "NotFoundError", "code": 404}}
            return web.json_response(body, status=404)
        best = max(found, key=lambda token: found[token])
        rows = [{f"token_id:{token}": value for token, value in found.items()}]
        choice = {
            "index": 0,
            "text": {token: word for word, token in LABELS.items()}[best],
            "finish_reason": "length",
        }
        choice["logprobs"] = {"top_logprobs": rows} if "logprob_token_ids" in asked else None
        label = engine.labels.get(asked["model"])
        name = f"{asked['model']}@{label}" if label else asked["model"]
        return web.json_response(
            {"id": "1", "object": "text_completion", "created": 0, "model": name, "choices": [choice]}
        )

    async def tokenize(request: web.Request) -> web.Response:
        return web.json_response({"tokens": engine.tokenizer.encode((await request.json())["prompt"])})

    async def adapters(_: web.Request) -> web.Response:
        return web.json_response(follower.answer().model_dump(mode="json", by_alias=True))

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_post("/v1/completions", complete)
    app.router.add_post("/tokenize", tokenize)
    app.router.add_get(ADAPTERS_ROUTE, adapters)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    return app


async def serve(model: Path, host: str, port: int, s3: S3) -> None:
    """Run until cancelled."""
    engine, registry = ToyEngine(model, s3), CollectorRegistry()
    follower = Follower(ServingSettings.of(os.environ), engine, ThreadBuilder(), ServingMetrics(registry))
    runner = web.AppRunner(routes(engine, follower, registry), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    await follower.run()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--s3-endpoint", required=True)
    given, _ = parser.parse_known_args()
    asyncio.run(serve(given.model, given.host, given.port, S3(endpoint=given.s3_endpoint, path_style=True)))


if __name__ == "__main__":
    main()
