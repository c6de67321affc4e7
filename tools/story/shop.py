"""The shop: it has a policy that may change, people who check some labels by hand, and an export into S3."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from tools.story.messages import BEFORE, STEADY, Message, Policy, draw, inverted, to_lines

INCOMING, CHECKED, GOLDEN = "incoming/", "checked/sample.jsonl", "golden.jsonl"
CHECKED_COUNT, GOLDEN_COUNT = 200, 120
FILES, RECORDS = 12, 100
"""An export has so many files of so many records."""


@dataclass
class Shop:
    """Writes to one bucket through a boto3 client. Everything it draws comes from fixed seeds."""

    s3: Any
    bucket: str
    policy: Policy = field(default_factory=lambda: BEFORE)
    rng: random.Random = field(default_factory=lambda: random.Random(20261127))
    customers: random.Random = field(default_factory=lambda: random.Random(8))
    """Of their own: what is learned must not depend on how often somebody asks."""
    pause_seconds: float = 1.0
    """Between two files of an export."""
    exported: int = 0

    async def open(self) -> None:
        """Write what the gate needs from the first round on: messages that mean the same under any policy."""
        await self._put(GOLDEN, draw(self.rng, self.policy, GOLDEN_COUNT, STEADY))
        await self.change(self.policy)

    async def change(self, policy: Policy) -> None:
        """From now on another policy holds, and people label a new sample by hand."""
        self.policy = policy
        await self._put(CHECKED, draw(self.rng, policy, CHECKED_COUNT))

    async def export(self, *, wrong: bool = False) -> int:
        """Write labelled messages, file by file, as time goes on; `wrong`: by a job that mixes the labels up. The
        number of records."""
        for _ in range(FILES):
            messages = draw(self.rng, self.policy, RECORDS)
            self.exported += 1
            await self._put(f"{INCOMING}{self.exported:04d}.jsonl", inverted(messages) if wrong else messages)
            await asyncio.sleep(self.pause_seconds)
        return FILES * RECORDS

    def requests(self, count: int) -> list[Message]:
        """Messages that customers write at this moment, with what the shop would make of them."""
        return draw(self.customers, self.policy, count)

    async def _put(self, key: str, messages: list[Message]) -> None:
        await asyncio.to_thread(self.s3.put_object, Bucket=self.bucket, Key=key, Body=to_lines(messages))
