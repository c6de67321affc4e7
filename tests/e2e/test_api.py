"""The API as the real server has it, held against the mock that the other tests use."""

from __future__ import annotations

import asyncio
import copy
import re
from pathlib import Path

import pytest
from tools.chart import ROOT

from e2e.kube import DEPLOYMENT, SYSTEM, Object, answer, kubectl, say, until
from fakes.kube import Refusal, admit_resource
from fixtures.malformed import CASES, FULL, OTHER_VALUES, REMOVED, changed, dotted
from zo_operator.api.rules import LOG_IDENTITY
from zo_operator.cluster.client import Client
from zo_operator.cluster.configuration import configuration
from zo_operator.cluster.kinds import RESOURCE
from zo_operator.errors import ApiError
from zo_operator.settings import Settings

EXAMPLES = [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "examples" / "serving" / "zofinetune.yaml"]


def mock(body: Object, old: Object | None = None) -> str | None:
    """What the mock answers, or none when it takes the manifest."""
    try:
        _, wrong = admit_resource(copy.deepcopy(body), old, strict=True)
    except Refusal as refused:
        return refused.message
    return ", ".join(wrong) or None


class Server:
    """The real server, asked for its opinion: nothing is stored."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def create(self, body: Object) -> str | None:
        path = RESOURCE.path(self._namespace)
        return await self._ask("POST", path, body)

    async def update(self, body: Object) -> str | None:
        name = body["metadata"]["name"]
        while True:
            version = (await self._client.get(RESOURCE, self._namespace, name))["metadata"]["resourceVersion"]
            changed_body = body | {"metadata": {**body["metadata"], "resourceVersion": version}}
            said = await self._ask("PUT", RESOURCE.path(self._namespace, name), changed_body)
            # The operator is at work on it too.
            if "the object has been modified" not in (said or ""):
                return said

    async def _ask(self, method: str, path: str, body: Object) -> str | None:
        body = copy.deepcopy(body)
        body["metadata"]["namespace"] = self._namespace
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        try:
            await self._client._request(method, RESOURCE, path, body, params=params)
        except ApiError as error:
            return error.message
        return None


def fields(message: str | None) -> set[str]:
    """The paths that a refusal names."""
    return set(re.findall(r"spec(?:\.[a-zA-Z0-9]+|\[[^\]]*\])*", message or ""))


async def compared(namespace: str) -> list[str]:
    """Where the mock and the server differ."""
    differences = []

    def compare(field: str, ours: str | None, theirs: str | None) -> None:
        if (ours is None) != (theirs is None) or (theirs is not None and field not in theirs):
            differences.append(f"{field}:\n  mock   {ours}\n  server {theirs}")

    async with Client(configuration, Settings()) as client:
        server = Server(client, namespace)
        for field, body in CASES:
            compare(field, mock(body), await server.create(body))
        # Its bucket does not exist: a cleanup of the log would never end.
        kept = changed(("spec", "deletionPolicy"), "Retain")
        stored = await client.create(RESOURCE, _in(namespace, kept))
        for field in LOG_IDENTITY:
            body = changed(dotted(field), OTHER_VALUES[field])
            compare(f"spec.{field}", mock(body, FULL), await server.update(body))
            body["spec"]["storage"]["uri"] = "s3://logs/another"
            compare(f"spec.{field}", mock(body, FULL), await server.update(body))
        for value in ("other", REMOVED):
            body = changed(dotted("queueName"), value)
            compare("spec.queueName", mock(body, FULL), await server.update(body))
        await client.delete(RESOURCE, namespace, stored["metadata"]["name"], stored["metadata"]["uid"])
    return differences


def _in(namespace: str, body: Object) -> Object:
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def test_the_server_refuses_what_the_mock_refuses(namespace: str) -> None:
    say(f"{len(CASES)} malformed manifests, and changes of what a log is bound to")
    differences = asyncio.run(compared(namespace))
    assert not differences, "\n".join(differences)


def test_explain_tells_what_fields_mean(release: None) -> None:
    text = kubectl("explain", "zofinetune.spec")
    for name in ("model", "objective", "optimizer", "storage", "runtime", "suspend", "deletionPolicy"):
        assert re.search(rf"^  {name}\t", text, re.MULTILINE), text
    assert "rank" in kubectl("explain", "zofinetune.spec.optimizer")


def test_the_short_name_and_the_categories(namespace: str) -> None:
    for name in ("zoft", "zofinetune", "zofinetunes.zofinetune.io"):
        assert kubectl("get", name, "--namespace", namespace) == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_server_takes_the_examples(namespace: str, path: Path) -> None:
    kubectl("apply", "--dry-run=server", "--namespace", namespace, "--filename", str(path))


def test_users_have_the_rights_that_the_roles_say(namespace: str) -> None:
    def may(role: str, verb: str, *what: str) -> bool:
        who = ("--as=someone", f"--as-group=zo-e2e-{role}", "--namespace", namespace)
        return answer("kubectl", "auth", "can-i", verb, *what, *who).startswith("yes")

    for role in ("view", "edit", "admin"):
        kubectl(
            "create", "rolebinding", role, f"--clusterrole={role}", f"--group=zo-e2e-{role}", "--namespace", namespace
        )
    until(lambda: may("view", "get", "zofinetunes"), "the aggregation of roles", 60)
    assert not may("view", "create", "zofinetunes")
    assert may("edit", "create", "zofinetunes")
    assert not may("edit", "deletecollection", "zofinetunes")
    assert may("admin", "deletecollection", "zofinetunes")
    assert not may("admin", "patch", "zofinetunes", "--subresource=status")


def test_the_operator_has_no_more_rights_than_it_needs(release: None) -> None:
    account = f"--as=system:serviceaccount:{SYSTEM}:{DEPLOYMENT}"
    for verb, what in (("get", "secrets"), ("create", "pods"), ("patch", "zofinetunes"), ("list", "nodes")):
        said = answer("kubectl", "auth", "can-i", verb, what, account, "--all-namespaces")
        assert said.startswith("no"), (verb, what)
