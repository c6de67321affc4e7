"""A node of the fake cluster that really runs pods: every container is a process of this machine.

What a kubelet does and the product relies on is here: the pod's own command with variables from values, Secrets and
fields, ConfigMaps (followed while they change), Secrets and empty folders as volumes, an address for each pod, logs,
the termination message, SIGTERM and then SIGKILL, statuses. Images, probes and limits are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from fakes.kube import FakeKube
from fakes.kube_store import Object, now
from fakes.node_process import Process
from fakes.node_volumes import Volumes, command, environment

FINALIZER = "test/kubelet"
_LOOK_SECONDS = 0.2


class Node:
    """Runs the pods of a cluster below `folder`, in the working directory `cwd`, with `image` as the variables that
    an image would bring. `Workloads` with `hold_termination` is the Job controller beside it."""

    def __init__(self, kube: FakeKube, folder: Path, cwd: Path, image: Mapping[str, str]) -> None:
        self._kube, self._folder, self._cwd, self._image = kube, folder, cwd, dict(image)
        # Of its own: pods have fixed ports, and other nodes may run on this machine.
        self._network = f"127.{random.randint(16, 250)}.{random.randint(0, 250)}"
        self._pods: dict[str, asyncio.Task[None]] = {}
        self.started: list[Object] = []
        """Every pod that was run, in the order of their starts."""

    async def run(self) -> None:
        """Run what there is to run, until cancelled; then end all processes."""
        try:
            while True:
                for pod in self._kube.store.all("pods"):
                    uid = pod["metadata"]["uid"]
                    if uid not in self._pods:
                        self._pods[uid] = asyncio.create_task(self._live(pod))
                for task in self._pods.values():
                    if task.done():
                        task.result()  # a defect of this node must not pass for a pod that waits
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in self._pods.values():
                task.cancel()
            await asyncio.gather(*self._pods.values(), return_exceptions=True)

    def log(self, pod: Object) -> Path:
        """What the pod's container writes."""
        return self._home(pod) / "log"

    async def _live(self, pod: Object) -> None:
        """The life of one pod, from its first sight to its removal."""
        if not self._leaving(pod):
            await self._run(pod)
        while not self._leaving(pod):
            await asyncio.sleep(_LOOK_SECONDS)
        found = self._kube.find("pods", pod["metadata"]["name"], pod["metadata"]["namespace"])
        if found is not None and found["metadata"]["uid"] == pod["metadata"]["uid"]:
            freed = copy.deepcopy(found)
            freed["metadata"]["finalizers"] = [f for f in found["metadata"].get("finalizers", ()) if f != FINALIZER]
            self._kube.store.update("pods", found, freed)

    async def _run(self, pod: Object) -> None:
        (container,) = pod["spec"]["containers"]
        number = len(self.started) + 1
        self.started.append(pod)
        address = f"{self._network}.{number % 250 + 1}"
        volumes = Volumes(self._kube, pod, self._home(pod), address)
        while not volumes.refresh():
            if self._leaving(pod):
                return
            await asyncio.sleep(_LOOK_SECONDS)
        variables = self._image | environment(self._kube, pod, address, volumes.localize)
        line = [volumes.localize(word) for word in command(container, variables)]
        grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        process = Process(line, variables, self._cwd, self.log(pod), grace)
        await process.start()
        try:
            self._report(pod, {"running": {"startedAt": now()}}, "Running", address)
            while process.running and not self._leaving(pod):
                volumes.refresh()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await process.end()
        self._report(pod, {"terminated": _ended(process, container, volumes)}, _phase(process.code), address)

    def _home(self, pod: Object) -> Path:
        return self._folder / str(pod["metadata"]["name"])

    def _leaving(self, pod: Object) -> bool:
        """Whether the pod is being deleted, or is gone."""
        found = self._kube.find("pods", pod["metadata"]["name"], pod["metadata"]["namespace"])
        same = found is not None and found["metadata"]["uid"] == pod["metadata"]["uid"]
        return not same or "deletionTimestamp" in (found or {})["metadata"]

    def _report(self, pod: Object, state: Object, phase: str, address: str) -> None:
        meta, (container,) = pod["metadata"], pod["spec"]["containers"]
        if self._kube.find("pods", meta["name"], meta["namespace"]) is None:
            return
        shown = {"name": container["name"], "state": state, "ready": phase == "Running", "restartCount": 0}
        shown |= {"image": container.get("image", ""), "imageID": ""}
        status = {"phase": phase, "podIP": address, "containerStatuses": [shown]}
        self._kube.edit("pods", meta["name"], {"status": status}, status=True, namespace=meta["namespace"])


def _phase(code: int) -> str:
    return "Succeeded" if code == 0 else "Failed"


def _ended(process: Process, container: Object, volumes: Volumes) -> Object:
    """The container's last state, with the message that it left, or else with the end of its log."""
    path = Path(volumes.localize(container.get("terminationMessagePath", "/dev/termination-log")))
    message = path.read_text(errors="replace")[:4096] if path.is_file() else ""
    if not message and process.code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        message = process.last_words(2048)
    ended = {"exitCode": process.code, "finishedAt": now(), "reason": "Error" if process.code else "Completed"}
    return ended | ({"message": message} if message else {})


@contextlib.asynccontextmanager
async def running(node: Node) -> AsyncIterator[Node]:
    """A node that runs for the length of a block."""
    task = asyncio.create_task(node.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            raise AssertionError("the node of the fake cluster failed") from task.exception()


def image_of_this_machine(bin_folder: Path) -> dict[str, str]:
    """What stands for an image's variables: where programs are, and the few of this process that decide what runs."""
    kept = {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH", "PYTHONPATH") if name in os.environ}
    return {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", **kept}
