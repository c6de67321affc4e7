"""The Job that scores a replica: valid Kubernetes, small, and a command that `zo` takes."""

import click
import pytest

from fixtures.malformed import FULL
from fixtures.openapi import KUBERNETES_VERSIONS, check
from zo_operator import names
from zo_operator.api.checks import Check
from zo_operator.api.spec import parse_spec
from zo_operator.manifests import check as manifest
from zo_operator.manifests.metadata import Owner
from zo_runtime.cli.check import check as command
from zo_runtime.serving.contract import Target

OWNER = Owner("sst2", "team-a", "0b7c2f5e-7d0c-4a39-9d55-a4fd1b2b1a30")
TARGET = Target(version=8, sha256="ab" * 32)
WIDE = {"examples": 200, "maxAccuracyDrop": 1e-05, "maxLossIncrease": 0.1, "minAccuracy": 0.8}


def job(held_out, spec=FULL["spec"], replica="http://[fd00::7]:8000"):
    wished = Check.model_validate({"name": "accuracy", "heldOut": held_out, "timeoutSeconds": 90})
    name = names.check(OWNER.name, "x")
    return manifest.job(OWNER, parse_spec(spec), name, "zofinetune/runtime:1", wished, replica, "a.b-c", TARGET)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("held_out", [{}, WIDE], ids=["defaults", "everything"])
def test_it_is_valid_kubernetes(version, held_out):
    check(job(held_out), version)
    check(manifest.config_map(OWNER, parse_spec(FULL["spec"]), "x"), version)


@pytest.mark.parametrize("held_out", [{}, WIDE], ids=["defaults", "everything"])
def test_zo_takes_its_command(held_out):
    container = job(held_out)["spec"]["template"]["spec"]["containers"][0]
    program, subcommand, *arguments = container["command"]
    assert (program, subcommand) == ("zo", "check")
    given = command.make_context("check", arguments, resilient_parsing=False).params
    assert given == {
        "manifest": "/etc/zofinetune/zofinetune.yaml",
        "replica": "http://[fd00::7]:8000",
        "model": "a.b-c",
        "version": 8,
        "sha256": "ab" * 32,
        "examples": held_out.get("examples"),
        "max_accuracy_drop": held_out.get("maxAccuracyDrop", 0.02),
        "max_loss_increase": held_out.get("maxLossIncrease"),
        "min_accuracy": held_out.get("minAccuracy"),
        "api_key": None,
    }
    with pytest.raises(click.UsageError):
        command.make_context("check", [*arguments, "--unknown"])


def test_it_takes_no_gpu_and_goes_to_no_node_of_rounds():
    pod = job({})["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {"requests": {"cpu": "200m", "memory": "1Gi"}}
    assert not {"affinity", "topologySpreadConstraints", "subdomain", "nodeSelector"} & set(pod)
    assert not {"ports", "livenessProbe"} & set(container)
    (home,) = [volume for volume in pod["volumes"] if volume["name"] == "zo-home"]
    assert set(home) == {"name", "emptyDir"}


def test_it_ends_in_time_and_does_not_try_for_ever():
    spec = job({})["spec"]
    assert spec["activeDeadlineSeconds"] == 90
    assert spec["backoffLimit"] == 2
    assert spec["podFailurePolicy"]["rules"][1]["action"] == "FailJob"


def test_the_replicas_key_comes_from_its_secret():
    container = job({})["spec"]["template"]["spec"]["containers"][0]
    (key,) = [variable for variable in container["env"] if variable["name"] == "ZO_REPLICA_API_KEY"]
    assert key["valueFrom"] == {"secretKeyRef": {"name": "vllm", "key": "api-key"}}
    serving = {name: value for name, value in FULL["spec"]["serving"].items() if name != "apiKeySecretRef"}
    container = job({}, FULL["spec"] | {"serving": serving})["spec"]["template"]["spec"]["containers"][0]
    assert "ZO_REPLICA_API_KEY" not in {variable["name"] for variable in container["env"]}


def test_labels_and_owner_lead_to_the_resource():
    made = job({})
    assert made["metadata"]["labels"][names.LABEL_COMPONENT] == "check"
    assert made["spec"]["template"]["metadata"]["labels"][names.LABEL_UID] == OWNER.uid
    assert made["metadata"]["ownerReferences"][0]["uid"] == OWNER.uid


@pytest.mark.parametrize("name", ["a", "n" * 41, "n" * 253, "a.b.c"])
def test_the_pods_name_fits(name):
    assert len(names.check(name, "content")) + 6 <= 63
    assert names.check(name, "content") != names.check(name, "other")
