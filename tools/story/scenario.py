"""The story itself, as somebody would tell it who watches the shop for an afternoon."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tools.story.clients import Clients, accuracy
from tools.story.cluster import Cluster, StoryFailed
from tools.story.manifests import Object
from tools.story.messages import AFTER
from tools.story.shop import Shop
from tools.story.timeline import Timeline

from zo_operator import names

# Requests to each replica where a figure is to be told, and in between.
MANY, FEW = 200, 40
# What counts as a fall and as a recovery: far more than chance makes of so many requests.
CLEAR = 0.15
# Far longer than a round takes on two idle cores.
ROUND_MINUTES = 20


@dataclass
class Story:
    """Who takes part."""

    cluster: Cluster
    shop: Shop
    clients: Clients
    timeline: Timeline
    replicas: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)
    """Measured accuracy at the turning points."""

    async def tell(self, resource: Object) -> None:
        """All of it. Raise `StoryFailed` where it goes another way."""
        await self.measured("base", "stock vLLM serves the base model")
        await self.the_first_round(resource)
        good = await self.the_meaning_drifts()
        await self.poison_arrives(good)
        await self.a_bad_version_is_forced_through(good)

    async def the_first_round(self, resource: Object) -> None:
        self.happens("the resource is applied, and the first labelled messages arrive", "the resource is applied")
        self.cluster.kube.put(resource)
        await self.shop.export()
        version = await self.a_round_is_accepted(1)
        await self.served_by_all(version)
        await self.measured("before", f"version {version} serves all clients")

    async def the_meaning_drifts(self) -> int:
        """The version that makes up for it."""
        self.happens("the sale is over: questions can wait, refunds are urgent now", "the meaning shifts")
        await self.shop.change(AFTER)
        await self.measured("drifted", "the same version under the new meaning")
        self.expect(self.figures["drifted"] <= self.figures["before"] - CLEAR, "the accuracy falls")
        self.happens("messages with the new labels arrive; nobody does anything else", "new labels arrive")
        await self.shop.export()
        version = await self.a_round_is_accepted(2)
        await self.tried_by_one(version)
        await self.served_by_all(version)
        await self.measured("recovered", f"version {version} serves all clients")
        self.expect(self.figures["recovered"] >= self.figures["drifted"] + CLEAR, "the accuracy recovers")
        return version

    async def poison_arrives(self, good: int) -> None:
        before = self.served_state()
        self.happens("a labelling job goes wrong: every label that arrives is the opposite", "poisoned labels arrive")
        await self.shop.export(wrong=True)
        found = await self.ended(3)
        self.expect(found == "Rejected", f"the gate rejects round 3 (it is {found})")
        await self.measured("poisoned", f"version {good} serves on")
        self.expect(self.served_state() == before, "serving is untouched")

    async def a_bad_version_is_forced_through(self, good: int) -> None:
        self.happens("somebody removes the gate, and the wrong labels still arrive", "the gate is removed")
        self.cluster.kube.edit(names.PLURAL, self.name, {"spec": {"gate": None}})
        await self.shop.export(wrong=True)
        bad = await self.a_round_is_accepted(4)
        canary = await self.tried_by_one(bad)
        await self.the_canary_is_measured(canary, bad, good)
        await self.cluster.until("the rollback", lambda: self.outcome(4) == "RolledBack")
        withdrawn = self.cluster.serving()["withdrawn"][0]
        self.expect((withdrawn["version"], withdrawn["reason"]) == (bad, "CheckFailed"), "the check failed")
        await self.served_by_all(good)
        await self.measured("end", f"version {good} serves all clients again")
        self.expect(self.figures["end"] >= self.figures["recovered"] - CLEAR / 2, "nothing was lost")

    async def the_canary_is_measured(self, canary: str, bad: int, good: int) -> None:
        samples = await self.clients.measure(self.shop.requests(FEW))
        seen = {(sample.replica, sample.version) for sample in samples}
        self.expect((canary, bad) in seen, f"{canary} was measured while it served version {bad}")
        self.figures["canary"] = accuracy(samples, canary, bad)
        self.figures["others"] = accuracy(samples, version=good)
        text = f"version {bad} on {canary}: {self.figures['canary']:.0%}; version {good} on the others: "
        self.timeline.tell("result", f"{text}{self.figures['others']:.0%}")
        self.expect(self.figures["canary"] <= self.figures["others"] - CLEAR, "the forced version is a bad one")

    # -- what all of it is made of

    @property
    def name(self) -> str:
        return str(self.cluster.resource()["metadata"]["name"])

    def happens(self, text: str, mark: str) -> None:
        """Something that the world does."""
        self.timeline.tell("world", text, mark)

    def expect(self, holds: bool, what: str) -> None:
        """Go on only if it holds."""
        if not holds:
            raise StoryFailed(f"it does not hold that {what}: {self.figures}")
        self.timeline.tell("result", what)

    async def measured(self, key: str, text: str) -> None:
        """Measure with many requests, and tell the figure."""
        samples = await self.clients.measure(self.shop.requests(MANY))
        self.figures[key] = accuracy(samples)
        asked = sum(sample.asked for sample in samples)
        self.timeline.tell("result", f"{text}: {self.figures[key]:.1%} of {asked} requests answered rightly")

    def outcome(self, number: int) -> str:
        """How a round ended; empty before."""
        return str(self.cluster.round(number).get("outcome") or "")

    async def ended(self, number: int) -> str:
        """Wait for the end of a round; how it ended."""
        what = f"the end of round {number}"
        return await self.cluster.until(what, lambda: self.outcome(number), minutes=ROUND_MINUTES)

    async def a_round_is_accepted(self, number: int) -> int:
        """Wait for a round that began by itself to end well; its version."""
        found = await self.ended(number)
        entry = self.cluster.round(number)
        self.expect(found in ("Completed", "RolledBack"), f"round {number} completes (it is {found})")
        self.expect(entry["trigger"] == "FreshData", f"round {number} began because of fresh data")
        return int(entry["version"])

    async def tried_by_one(self, version: int) -> str:
        """Wait until a canary, and nobody else, serves a version; the canary."""

        def found() -> str:
            serving = self.cluster.serving()
            ready = serving.get("version") == version and serving.get("stage") == "Canary"
            return serving["canary"][0] if ready and serving.get("canaryReadyTime") else ""

        return await self.cluster.until(f"a canary with version {version}", found)

    async def served_by_all(self, version: int) -> None:
        """Wait until all replicas serve a version."""

        def found() -> bool:
            serving = self.cluster.serving()
            there = serving.get("version") == version and serving.get("stage") == "All"
            return there and serving.get("updated") == len(self.replicas)

        await self.cluster.until(f"version {version} on all replicas", found)

    def served_state(self) -> Any:
        """What replicas are told, to the last byte, and when it was written."""
        found = self.cluster.kube.find("configmaps", names.serving(self.name)) or {}
        return found["metadata"]["resourceVersion"], found["data"]

    async def clients_go_on(self, pause: float) -> None:
        """Ask a little all the time, until cancelled."""
        while True:
            await asyncio.sleep(pause)
            await self.clients.measure(self.shop.requests(FEW))
