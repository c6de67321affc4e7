"""The real operator under the chart's own roles: every request that they do not allow is refused with 403."""

import asyncio
import dataclasses

import pytest

from fakes.kube import Refusal, Write
from fakes.world import SETTINGS, World, manifest, world
from fixtures.chart import Object, of_kind, render
from zo_operator.cluster.kinds import BY_KIND, SECRET
from zo_runtime.progress import Progress, Result

NAMESPACE = "default"
LEASE = "tuning-zofinetune"
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
GROUPS = {kind.plural: kind.api_version.rpartition("/")[0] for kind in (*BY_KIND.values(), SECRET)}
NAMED = {"leases": LEASE, "secrets": "vllm"}
SERVING = {"selector": {"app": "vllm"}, "apiKeySecretRef": {"name": "vllm"}}


class Guard:
    """Kubernetes' RBAC for the operator's service account, from the rendered roles bound to it."""

    def __init__(self, objects: list[Object]) -> None:
        bindings = of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
        names = {binding["roleRef"]["name"] for binding in bindings}
        roles = of_kind(objects, "Role") + of_kind(objects, "ClusterRole")
        self.rules = [rule for role in roles if role["metadata"]["name"] in names for rule in role["rules"]]
        self.refused: list[tuple[str, str]] = []
        self.asked: set[tuple[str, str]] = set()

    def allows(self, verb: str, plural: str, name: str = "", subresource: str | None = None) -> bool:
        resource = f"{plural}/{subresource}" if subresource else plural
        allowed = any(
            GROUPS[plural] in rule["apiGroups"]
            and resource in rule["resources"]
            and verb in rule["verbs"]
            and name in rule.get("resourceNames", [name])
            for rule in self.rules
        )
        self.asked.add((verb, resource))
        if not allowed:
            self.refused.append((verb, resource))
        return allowed

    def watch(self, w: World) -> None:
        """Refuse the operator's writes from now on, where they are not allowed."""

        def before(write: Write) -> None:
            if write.user == "admin":
                return
            verbs = [VERBS[write.verb]]
            # Server-side apply of a new object is authorized as `create` too.
            if write.verb == "PATCH" and w.kube.find(write.plural, write.name, NAMESPACE) is None:
                verbs.append("create")
            if not all(self.allows(verb, write.plural, write.name, write.subresource) for verb in verbs):
                raise Refusal(403, "Forbidden", f"{write.plural} is forbidden")

        w.kube.before = before


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_the_whole_life_of_a_resource_needs_no_more_than_the_roles_give(scope):
    values = {"rbac": {"scope": scope, "apiKeySecrets": [{"name": "vllm"}]}}
    guard = Guard(render(values, namespace=NAMESPACE))
    settings = dataclasses.replace(SETTINGS, lease_name=LEASE, lease_namespace=NAMESPACE)

    async def life():
        async with world(settings, operator=False) as w:
            guard.watch(w)
            await w.operator(identity="one", namespaces=(NAMESPACE,) if scope == "namespace" else ())
            meta = {"name": "vllm", "namespace": NAMESPACE}
            w.kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"api-key": "a2V5"}})
            w.kube.put(manifest(deletionPolicy="Delete", serving=SERVING))
            pod = await w.pod()
            w.workloads.start(pod, Progress(phase="Training", step=40, total_steps=100))
            await w.phase("Running")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
            await w.phase("Suspended")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": False, "backoffLimit": 3}})
            await w.until(lambda: w.status().get("phase") in ("Pending", "Running"), "resumption")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"evaluation": {"every": 50}}})
            await w.until(lambda: len(w.status().get("rounds", ())) == 2, "the second round")
            pod = await w.pod()
            w.workloads.start(pod)
            w.workloads.finish(
                pod, Result(ok=True, reason="Completed", steps=200, version=1, version_sha256="0" * 64)
            )
            await w.phase("Succeeded")
            await w.until(lambda: w.kube.find("configmaps", "sst2-serving"), "what replicas are told")
            w.kube.discard("zofinetunes", "sst2")
            cleanup = await w.until(lambda: w.workloads.pods("zo-sst2-cleanup"), "the cleanup's pod")
            w.workloads.finish(cleanup[0])
            await w.until(lambda: not w.kube.store.all("configmaps"), "nothing left")
            await w.replicas[0].stop()
            for user, plural, verb in w.kube.reads:
                assert user == "admin" or guard.allows(verb, plural, NAMED.get(plural, ""))

    asyncio.run(life())
    assert guard.refused == []
    # The roles give nothing that this life did not ask for, watches aside.
    given = {(verb, resource) for rule in guard.rules for resource in rule["resources"] for verb in rule["verbs"]}
    unused = {(verb, resource) for verb, resource in given - guard.asked if verb != "watch"}
    assert unused <= {("get", "zofinetunes")}


def test_the_guard_refuses_what_no_rule_allows():
    guard = Guard(render(namespace=NAMESPACE))
    assert guard.allows("update", "leases", LEASE)
    assert not guard.allows("update", "leases", "another")
    assert not guard.allows("delete", "pods")
    assert not guard.allows("patch", "zofinetunes")
    assert not guard.allows("get", "secrets", "vllm")
    assert guard.refused == [
        ("update", "leases"), ("delete", "pods"), ("patch", "zofinetunes"), ("get", "secrets")
    ]  # fmt: skip
