"""The shop's clients: they ask every replica through the OpenAI API under the name that never changes.

An answer counts as right if it is what the shop's policy of the moment says of the message. Which version gave it
stands in the answer itself.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from openai import AsyncOpenAI, NotFoundError, OpenAIError
from tools.story.messages import Label, Message
from tools.story.timeline import Sample, Timeline

BASE = "base"
_PARALLEL = 4
_VERSION = re.compile(r"@v(\d+)")
# Adds to the log-probability of the label words, so that nothing else is answered; the greater one of them wins.
_ONLY_THESE = 100


@dataclass(frozen=True, slots=True)
class Question:
    """How a message becomes a prompt, and an answer a label: the manifest's own objective."""

    prompt: str
    words: Mapping[Label, str]

    def text(self, message: Message) -> str:
        """The prompt of a message."""
        return self.prompt.format(text=message.text)

    def label(self, answer: str) -> Label | None:
        """The label that an answer names."""
        return next((label for label, word in self.words.items() if word.strip() == answer.strip()), None)


class Clients:
    """Asks `replicas` (their URLs by name) for the model `name`, and the base model while there is no such name."""

    def __init__(self, replicas: Mapping[str, str], name: str, question: Question, timeline: Timeline) -> None:
        self._urls, self._name, self._question, self._timeline = dict(replicas), name, question, timeline
        self._clients = {
            replica: AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120.0)
            for replica, url in replicas.items()
        }
        self._tokens: list[int] = []
        self._seen: set[str] = set()
        """Replicas that have answered under the name: from then on they have to."""
        self.requests = 0
        self.failures: list[str] = []

    async def __aenter__(self) -> Clients:
        async with aiohttp.ClientSession() as session:
            for word in self._question.words.values():
                body = {"model": BASE, "prompt": word, "add_special_tokens": False}
                async with session.post(f"{next(iter(self._urls.values()))}/tokenize", json=body) as answer:
                    (token,) = (await answer.json())["tokens"]
                    self._tokens.append(token)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.close()

    async def measure(self, messages: Sequence[Message]) -> list[Sample]:
        """Ask every replica for each of the messages; the timeline gets what came of it."""
        free = asyncio.Semaphore(_PARALLEL)
        asked = itertools.product(self._clients, messages)
        answers = await asyncio.gather(*(self._ask(free, replica, message) for replica, message in asked))
        counts, right = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
        for found in answers:
            if found is not None:
                replica, version, good = found
                counts[replica, version] += 1
                right[replica, version] += good
        now = self._timeline.now
        samples = [Sample(now, *key, right[key], count) for key, count in sorted(counts.items())]
        self._timeline.measured(samples)
        return samples

    async def _ask(self, free: asyncio.Semaphore, replica: str, message: Message) -> tuple[str, int, bool] | None:
        async with free:
            self.requests += 1
            try:
                model, answer = await self._complete(replica, message)
            except OpenAIError as error:
                self.failures.append(f"{replica}: {type(error).__name__}: {error}")
                return None
        found = _VERSION.search(model)
        if found is not None:
            self._seen.add(replica)
        return replica, int(found[1]) if found else 0, self._question.label(answer) == message.label

    async def _complete(self, replica: str, message: Message) -> tuple[str, str]:
        """The model that answered, and its word."""
        had = replica in self._seen
        for name in (self._name, BASE):
            try:
                answer = await self._clients[replica].completions.create(
                    model=name,
                    prompt=self._question.text(message),
                    max_tokens=1,
                    temperature=0,
                    logit_bias={str(token): _ONLY_THESE for token in self._tokens},
                )
            except NotFoundError:
                if had or name == BASE:
                    raise
            else:
                return answer.model, answer.choices[0].text
        raise AssertionError("unreachable")


def accuracy(samples: Sequence[Sample], replica: str | None = None, version: int | None = None) -> float:
    """Share of right answers in all of the samples, or in those of one replica or version."""
    chosen = [s for s in samples if replica in (None, s.replica) and version in (None, s.version)]
    return sum(s.right for s in chosen) / sum(s.asked for s in chosen)
