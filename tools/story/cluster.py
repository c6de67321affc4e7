"""The cluster of the story: the tests' API server, the real operator as a process, a node that really runs pods, and
a Prometheus that watches."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import kmock
from tools.story.cast import Cast
from tools.story.manifests import NAME, Object
from tools.story.monitoring import monitored
from tools.story.timeline import Timeline

from fakes.kube import FakeKube
from fakes.kube_node import Node, running
from fakes.kube_workloads import Workloads
from fakes.node_process import Process
from fakes.operator_process import variables
from fixtures.prometheus import Prometheus
from fixtures.seaweed import free_ports
from zo_operator import names

ROOT = Path(__file__).resolve().parents[2]
# What the picture shows of what the operator tells, in a few words.
MARKS = {
    "RoundStarted": "a round begins",
    "Rejected": "the gate rejects",
    "CanaryStarted": "canary",
    "RolloutCompleted": "on all replicas",
    "RolledBack": "rolled back",
}
_T = TypeVar("_T")


class StoryFailed(Exception):
    """Something did not come as it should have."""


class Cluster:
    """What the story does with the cluster, and sees of it."""

    def __init__(
        self, kube: FakeKube, node: Node, operator: Process, prometheus: Prometheus, timeline: Timeline
    ) -> None:
        self.kube, self.node, self.prometheus = kube, node, prometheus
        self._operator, self._timeline = operator, timeline
        self._told: set[str] = set()

    def resource(self) -> Object:
        """The resource as stored."""
        return self.kube.find(names.PLURAL, NAME) or {}

    def status(self) -> Object:
        """Its status, empty before the first."""
        return dict(self.resource().get("status") or {})

    def serving(self) -> Object:
        """What it says of the replicas."""
        return dict(self.status().get("serving") or {})

    def round(self, number: int) -> Object:
        """What it says of a round; empty before its beginning."""
        rounds = self.status().get("rounds") or ()
        return next((each for each in rounds if each["number"] == number), {})

    def pods_of(self, component: str) -> int:
        """How many pods of a kind the node has run."""
        labels = (pod["metadata"]["labels"] for pod in self.node.started)
        return sum(each.get(names.LABEL_COMPONENT) == component for each in labels)

    async def until(self, what: str, found: Callable[[], _T], minutes: float = 8.0) -> _T:
        """Wait for something to be there, and return it. Raise `StoryFailed` if it does not come in time, if the
        resource needs somebody to look at it, or if the operator has ended."""
        end = self._timeline.now + 60 * minutes
        while not (value := found()):
            for condition in self.status().get("conditions") or ():
                if condition["type"] == "Stalled" and condition["status"] == "True":
                    raise StoryFailed(f"{condition['reason']}: {condition['message']}")
            if not self._operator.running:
                raise StoryFailed("the operator has ended: see its log")
            if self._timeline.now > end:
                raise StoryFailed(f"waited in vain for {what}: {self.status()}")
            await asyncio.sleep(0.2)
        return value

    async def relay(self) -> None:
        """Tell the timeline what the operator tells, until cancelled."""
        while True:
            for event in self.kube.store.all("events"):
                if event["metadata"]["uid"] not in self._told:
                    self._told.add(event["metadata"]["uid"])
                    reason, message = event["reason"], " ".join(event["message"].split())
                    self._timeline.tell("operator", f"{reason}: {message}", MARKS.get(reason, ""))
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def cluster(cast: Cast, folder: Path, timeline: Timeline) -> AsyncIterator[Cluster]:
    """Everything runs for the length of the block; a part that fails ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    async with FakeKube() as kube, kmock.Server(kube):
        node = Node(kube, folder / "pods", ROOT, cast.image)
        command = [sys.executable, "-m", "zo_operator", "--poll-seconds=1", "--log-format=text"]
        (port,) = free_ports(1)
        given = variables(kube, folder / "kubeconfig") | {"ZO_OPERATOR_METRICS_PORT": str(port)}
        operator = Process(command, given, ROOT, folder / "operator.log", 30.0)
        async with monitored(folder / "prometheus", kube, port, cast.scrape_seconds) as prometheus:
            made = Cluster(kube, node, operator, prometheus, timeline)
            await operator.start()
            try:
                async with running(node), beside(_control(Workloads(kube, hold_termination=True)), made.relay()):
                    yield made
            finally:
                await operator.end()


@contextlib.asynccontextmanager
async def beside(*parts: Any) -> AsyncIterator[None]:
    """Run coroutines that never end by themselves beside a block; if one fails, the block is cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        yield
        for task in tasks:
            task.cancel()


async def _control(workloads: Workloads) -> None:
    """The Job controller."""
    while True:
        workloads.tick()
        await asyncio.sleep(0.1)
