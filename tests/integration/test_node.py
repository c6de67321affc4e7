"""The node of the fake cluster: pods are processes, as a kubelet would have them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from pathlib import Path

import kmock

from fakes.kube import FakeKube
from fakes.kube_node import FINALIZER, Node, image_of_this_machine, running

MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}}


def pod(script: str, name: str = "p-0", **container: object) -> dict:
    """A pod with one container that runs a shell script."""
    volumes = [
        {"name": "manifest", "configMap": {"name": "m"}},
        {"name": "later", "configMap": {"name": "later", "optional": True}},
        {"name": "secret", "secret": {"secretName": "s"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts = {
        "manifest": "/etc/zofinetune",
        "later": "/etc/zofinetune-later",
        "secret": "/keys",
        "tmp": "/var/tmp/zo",
    }
    body = {
        "name": "runtime",
        "image": "x",
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    meta = {"name": name, "namespace": "default", "labels": {}, "finalizers": [FINALIZER]}
    spec = {"containers": [body | container], "volumes": volumes, "terminationGracePeriodSeconds": 2}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}}


@contextlib.asynccontextmanager
async def cluster(folder: Path):
    async with FakeKube() as kube, kmock.Server(kube):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}
        kube.put(secret | {"data": {"KEY": base64.b64encode(b"s3cret").decode()}})
        async with running(Node(kube, folder / "pods", folder, image_of_this_machine(folder))) as node:
            yield kube, node


async def until(found, seconds: float = 20.0):
    async with asyncio.timeout(seconds):
        while not (value := found()):
            await asyncio.sleep(0.02)
    return value


def state(kube: FakeKube, name: str = "p-0") -> dict:
    status = kube.find("pods", name)["status"]
    return status.get("containerStatuses", [{}])[0].get("state", {})


def test_what_a_container_finds(tmp_path: Path) -> None:
    async def life() -> None:
        async with cluster(tmp_path) as (kube, node):
            script = (
                "cat /etc/zofinetune/m.yaml /keys/KEY; echo; pwd; echo $KEY $NAME $(ONE) '$(TWO)' $TMPDIR $IP; "
                "touch /var/tmp/zo/here; printf done > /dev/termination-log; test -d /etc/zofinetune-later"
            )
            env = [
                {"name": "ONE", "value": "1"},
                {"name": "TMPDIR", "value": "/var/tmp/zo"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ]
            made = kube.put(pod(script, env=env, envFrom=[{"secretRef": {"name": "s"}}]))
            await asyncio.sleep(0.5)
            assert not state(kube), "it waits for the ConfigMap"
            kube.put(MANIFEST | {"data": {"m.yaml": "host: 0.0.0.0\nca: /etc/zofinetune-ca/x\n"}})
            ended = await until(lambda: state(kube).get("terminated"))
            assert (ended["exitCode"], ended["message"], ended["reason"]) == (0, "done", "Completed")
            status = kube.find("pods", "p-0")["status"]
            assert status["phase"] == "Succeeded"
            lines = node.log(made).read_text().splitlines()
            address, home = status["podIP"], tmp_path / "pods" / "p-0"
            assert address.startswith("127.")
            assert lines[:2] == [f"host: {address}", "ca: /etc/zofinetune-ca/x"], "no other path is touched"
            assert lines[2:4] == ["s3cret", str(tmp_path)]
            assert lines[4] == f"s3cret p-0 1 $(TWO) {home / 'tmp'} {address}"
            assert (home / "tmp" / "here").exists()

    asyncio.run(life())


def test_ends(tmp_path: Path) -> None:
    async def life() -> None:
        async with cluster(tmp_path) as (kube, _):
            kube.put(MANIFEST | {"data": {"m.yaml": ""}})
            for name, script in {
                "p-1": "echo it went wrong; exit 5",
                "p-2": "printf told > /dev/termination-log; exit 7",
                "p-3": "kill -9 $$",
                "p-4": "exec no-such-program",
            }.items():
                kube.put(pod(script, name))
            ended = {
                n: await until(lambda n=n: state(kube, n).get("terminated")) for n in ("p-1", "p-2", "p-3", "p-4")
            }
            assert [each["exitCode"] for each in ended.values()] == [5, 7, 137, 127]
            assert ended["p-1"]["message"] == "it went wrong\n"
            assert ended["p-2"]["message"] == "told"
            assert "message" not in ended["p-3"]
            assert "no-such-program" in ended["p-4"]["message"]
            assert kube.find("pods", "p-1")["status"]["phase"] == "Failed"

    asyncio.run(life())


def test_deletion_stops_gently_then_not(tmp_path: Path) -> None:
    async def life() -> None:
        async with cluster(tmp_path) as (kube, node):
            kube.put(MANIFEST | {"data": {"m.yaml": ""}})
            gentle = kube.put(pod("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done", "p-1"))
            stubborn = kube.put(pod("trap '' TERM; echo up; while :; do sleep 0.1; done", "p-2"))
            for each in (gentle, stubborn):
                await until(lambda each=each: node.log(each).exists() and "up" in node.log(each).read_text())
                kube.discard("pods", each["metadata"]["name"])
            assert kube.find("pods", "p-1") is not None, "a pod stays until its container has ended"
            await until(lambda: kube.find("pods", "p-1") is None and kube.find("pods", "p-2") is None)
            assert "bye" in node.log(gentle).read_text()

    asyncio.run(life())


def test_a_config_map_is_followed_while_the_pod_runs(tmp_path: Path) -> None:
    async def life() -> None:
        async with cluster(tmp_path) as (kube, _):
            kube.put(MANIFEST | {"data": {"m.yaml": ""}})
            kube.put(pod("while :; do sleep 0.1; done"))
            await until(lambda: "running" in state(kube))
            folder = tmp_path / "pods" / "p-0" / "later"
            assert list(folder.iterdir()) == []
            meta = {"name": "later", "namespace": "default"}
            kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "1", "b": "1"}})
            await until((folder / "b").exists)
            kube.edit("configmaps", "later", {"data": {"a": "2", "b": None}})
            await until(lambda: not (folder / "b").exists() and (folder / "a").read_text() == "2")

    asyncio.run(life())


def test_nothing_outlives_the_node(tmp_path: Path) -> None:
    async def life() -> int:
        async with cluster(tmp_path) as (kube, node):
            kube.put(MANIFEST | {"data": {"m.yaml": ""}})
            made = kube.put(pod("sleep 600 & echo $!; wait"))
            await until(lambda: node.log(made).exists() and node.log(made).read_text().strip())
            return int(node.log(made).read_text())

    child = Path(f"/proc/{asyncio.run(life())}/stat")
    end = time.monotonic() + 20
    while child.exists() and child.read_text().split()[2] != "Z":  # the kernel takes a moment
        assert time.monotonic() < end
        time.sleep(0.02)
