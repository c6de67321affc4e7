"""The real operator with a resource that replicas serve: what tests of rollouts have in common."""

import contextlib
import dataclasses

from fakes.fleet import LABELS, digest_of, fleet, sha256_of
from fakes.world import SETTINGS, manifest, world
from zo_runtime.progress import Result
from zo_runtime.serving.contract import Target

QUICK = dataclasses.replace(SETTINGS, poll_timeout=0.3)


def serving(f, canary=1, bake=0, **more):
    rollout = {"canaryReplicas": canary, "bakeSeconds": bake}
    return {"selector": LABELS, "port": f.port, "rollout": rollout} | more


async def publish(w, version, name="sst2"):
    """Complete the current round, or another one, with that version."""
    rounds = w.status(name).get("rounds", ())
    if rounds and rounds[0].get("outcome"):
        w.kube.edit("zofinetunes", name, {"metadata": {"annotations": {"zofinetune.io/restart": str(version)}}})
        await w.until(lambda: len(w.status(name)["rounds"]) == len(rounds) + 1, "another round")
    pod = await w.pod(name=name)
    w.workloads.start(pod)
    digest = digest_of(Target(version=version, sha256=sha256_of(version)))
    told = {"version": version, "version_sha256": sha256_of(version), "digest": digest}
    w.workloads.finish(
        pod, Result(ok=True, reason="Completed", steps=100 * version, log_uri="s3://logs/sst2", **told)
    )


def state(w, name="sst2"):
    return w.status(name).get("serving") or {}


async def served(w, reason, status=None):
    """Wait for a reason of the condition `Served`."""
    await w.until(lambda: w.condition("Served")[1] == reason, f"Served for {reason}")
    if status is not None:
        assert w.condition("Served") == (status, reason)


def reasons(w):
    return {item["pod"]: item["reason"] for item in state(w).get("failed", ())}


@contextlib.asynccontextmanager
async def scene(count, *, api_key=None, **options):
    """A world with replicas and a resource that they serve."""
    async with world(QUICK) as w, fleet(w.kube, count, api_key=api_key) as f:
        spec = serving(f, **options)
        w.kube.put(manifest(serving=spec))
        yield w, f
