"""A GitOps tool applies a manifest with server-side apply and never sees a difference, whatever the operator does."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from typing import Any

import aiohttp

from fakes.fleet import LABELS, digest_of, fleet, sha256_of
from fakes.world import SETTINGS, World, manifest, world
from fixtures.health import argo, flux
from zo_operator import names
from zo_runtime.progress import Progress, Result
from zo_runtime.serving.contract import Target

QUICK = dataclasses.replace(SETTINGS, poll_timeout=0.3)
TOOL = "argocd-controller"
# What Argo CD and Flux put on everything that they apply, to find it again and to prune what is gone from Git.
MARKS = {
    "labels": {"app.kubernetes.io/instance": "ml-prod", "kustomize.toolkit.fluxcd.io/name": "ml"},
    "annotations": {"argocd.argoproj.io/tracking-id": "ml-prod:zofinetune.io/ZOFineTune:default/sst2"},
}

Object = dict[str, Any]


class Repository:
    """What stands in Git, and the tool that applies it without force."""

    def __init__(self, w: World, body: Object) -> None:
        self._w, self.body = w, body

    async def sync(self) -> Object:
        """Apply; a conflict is an error."""
        path = "/apis/zofinetune.io/v1alpha1/namespaces/default/zofinetunes/sst2"
        headers = {"Content-Type": "application/apply-patch+yaml", "Authorization": f"Bearer {TOOL}"}
        url = str(self._w.kube.url).rstrip("/") + path
        async with (
            aiohttp.ClientSession() as session,
            session.patch(url, json=self.body, headers=headers, params={"fieldManager": TOOL}) as answer,
        ):
            found: Object = await answer.json()
            assert answer.status == 200, found
            return found

    async def change(self, **spec: Any) -> None:
        """A commit."""
        self.body = copy.deepcopy(self.body)
        self.body["spec"] |= spec
        await self.sync()

    async def is_in_step(self) -> None:
        """What is there is what was applied, and the operator owns nothing of it."""
        before = self._w.resource()
        after = await self.sync()
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        for part in ("labels", "annotations"):
            assert before["metadata"].get(part) == after["metadata"].get(part) == MARKS[part]
        assert before["spec"] == after["spec"]
        assert not {"finalizers", "ownerReferences"} & before["metadata"].keys()
        owners = before["metadata"]["managedFields"]
        for manager, paths in owners.items():
            if manager != TOOL:
                assert {path[0] for path in paths} == {"status"}, f"{manager} owns {paths}"
        assert any(manager.startswith(names.FIELD_MANAGER) for manager in owners)


def check_children(w: World) -> None:
    """Nothing of the tool's marks is copied: a tool that prunes by them would take the children for strays."""
    values = {value for marks in MARKS.values() for value in marks.values()}
    for kind in ("jobs", "configmaps", "services"):
        for child in w.kube.store.all(kind):
            meta = child["metadata"]
            found = {**meta.get("labels", {}), **meta.get("annotations", {})}
            assert not values & set(found.values()), f"{kind} {meta['name']}"
            assert [owner["kind"] for owner in meta["ownerReferences"]] == [names.KIND]


def check_writes(w: World) -> None:
    """The operator has written to the resource's status and to nothing else of it."""
    own = [each for each in w.kube.writes if each.user.startswith("operator") and each.plural == "zofinetunes"]
    assert own and {each.subresource for each in own} == {"status"}


def health(w: World) -> tuple[str, str]:
    """By Argo CD, by Flux."""
    return argo(w.resource())[0], flux(w.resource())


def test_no_step_of_a_resources_life_makes_a_difference():
    async def life():
        async with world(QUICK) as w, fleet(w.kube, 2) as f:
            body = manifest(serving={"selector": LABELS, "port": f.port, "rollout": {"canaryReplicas": 0}})
            body["metadata"] |= copy.deepcopy(MARKS)
            git = Repository(w, body)
            await git.sync()
            await w.phase("Pending")
            await git.is_in_step()
            assert health(w) == ("Progressing", "InProgress")
            pod = await w.pod()
            w.workloads.start(pod, Progress(phase="Training", step=40, total_steps=100, loss=0.6))
            await w.until(lambda: w.status().get("step") == 40, "step 40")
            await git.is_in_step()
            check_children(w)
            await git.change(suspend=True)
            await w.phase("Suspended")
            await git.is_in_step()
            assert health(w) == ("Suspended", "Current")
            await git.change(suspend=False)
            await w.phase("Pending")
            pod = await w.pod()
            w.workloads.start(pod)
            version = {"version": 1, "version_sha256": sha256_of(1)}
            digest = digest_of(Target(version=1, sha256=sha256_of(1)))
            uri = "s3://logs/sst2"
            w.workloads.finish(pod, Result(ok=True, reason="Completed", log_uri=uri, digest=digest, **version))
            await w.phase("Succeeded")
            await w.until(lambda: w.condition("Served")[0] == "True", "Served")
            await git.is_in_step()
            assert health(w) == ("Healthy", "Current")
            assert f.versions() == {"web-0": 1, "web-1": 1}
            check_children(w)
            await git.change(data={"train": {"uri": "s3://data/other.jsonl"}})
            await w.phase("Pending")
            pod = await w.pod()
            w.workloads.start(pod)
            w.workloads.finish(pod, Result(ok=False, reason="InvalidData", message="no rows", exit_code=3), code=3)
            await w.phase("Failed")
            await git.is_in_step()
            assert health(w) == ("Degraded", "Failed")
            check_children(w)
            check_writes(w)

    asyncio.run(life())


def test_the_comparison_can_fail():
    async def life():
        async with world(QUICK) as w:
            body = manifest()
            body["metadata"] |= copy.deepcopy(MARKS)
            git = Repository(w, body)
            await git.sync()
            await w.phase("Pending")
            w.kube.edit("zofinetunes", "sst2", {"metadata": {"annotations": {"zofinetune.io/x": "y"}}})
            try:
                await git.is_in_step()
            except AssertionError:
                return
            raise AssertionError("a foreign annotation was not seen")

    asyncio.run(life())
