"""Constant load on one model name by the OpenAI client, and what came of every request."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openai import AsyncOpenAI, OpenAIError

# One beginning for all, so that the prefix cache has something to remember between requests.
PREFIX = (
    "You are a careful assistant of a small clinic in the mountains. Patients write short notes about how they feel "
    "after a visit, in their own words, and you go on writing in the same calm and friendly voice, for a sentence or "
    "two, without asking questions and without giving medical advice. "
)
NOTES = (
    "The nurse was kind and the wait was short, so",
    "My knee hurts when I climb the stairs, and",
    "I slept well for the first time in weeks because",
    "The letter from the clinic arrived late, which",
    "My daughter liked the new doctor, who",
    "We walked home through the snow, and",
)
PROMPTS = tuple(PREFIX + note for note in NOTES)


@dataclass(slots=True)
class Request:
    """One request; times are of the monotonic clock. `versions` is what the answer's parts name as their model."""

    prompt: int
    began: float
    first_token: float = 0.0
    ended: float = 0.0
    text: str = ""
    versions: set[str] = field(default_factory=set)
    error: str = ""

    @property
    def seconds(self) -> float:
        """Time from the request to the end of its answer."""
        return self.ended - self.began


class Load:
    """`workers` streams of requests, one after another, from `start` to `stop`."""

    def __init__(self, url: str, key: str | None, model: str, workers: int, tokens: int):
        self._client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key or "none", max_retries=0, timeout=120.0)
        self._model, self._workers, self._tokens = model, workers, tokens
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.requests: list[Request] = []

    def start(self) -> None:
        """Begin."""
        numbers = itertools.count()
        self._tasks = [asyncio.create_task(self._worker(numbers)) for _ in range(self._workers)]

    async def stop(self) -> None:
        """Let the requests under way end."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self._client.close()

    def first_token_of(self, version: str, since: float) -> float | None:
        """When the first token of a version arrived that was asked for after `since`."""
        times = (r.first_token for r in self.requests if r.began >= since and version in r.versions and r.first_token)
        return min(times, default=None)

    async def _worker(self, numbers: itertools.count[int]) -> None:
        while not self._stopping:
            request = Request(next(numbers) % len(PROMPTS), time.monotonic())
            self.requests.append(request)
            try:
                await self._ask(request)
            except OpenAIError as error:
                request.error = f"{type(error).__name__}: {error}"
            request.ended = time.monotonic()

    async def _ask(self, request: Request) -> None:
        stream = await self._client.completions.create(
            model=self._model, prompt=PROMPTS[request.prompt], max_tokens=self._tokens, temperature=0, stream=True
        )
        async for part in stream:
            request.first_token = request.first_token or time.monotonic()
            request.versions.add(part.model)
            request.text += part.choices[0].text if part.choices else ""


def failed(requests: Sequence[Request]) -> list[str]:
    """The errors of requests that have one, and those that got no answer."""
    return [r.error or "an empty answer" for r in requests if r.error or not r.versions]


def mixed(requests: Sequence[Request], references: Mapping[str, Sequence[str]]) -> list[Request]:
    """Requests whose answer is not what the one version that it names gives for that prompt."""
    return [
        r
        for r in requests
        if not r.error and (len(r.versions) != 1 or references[next(iter(r.versions))][r.prompt] != r.text)
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
