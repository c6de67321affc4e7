"""Objects that the operator builds: valid Kubernetes, complete commands, no secrets, and what the runtime expects."""

import copy

import pytest
import yaml

from fixtures.openapi import KUBERNETES_VERSIONS, check
from zo_operator import names
from zo_operator.api.spec import parse_spec
from zo_operator.manifests import cleanup, document, job, probe, service
from zo_operator.manifests.metadata import Owner
from zo_runtime.config.load import parse_document
from zo_runtime.errors import by_exit_code
from zo_runtime.rounds.contract import RoundOrder, VersionReference

OWNER = Owner("sst2", "team-a", "0b7c2f5e-7d0c-4a39-9d55-a4fd1b2b1a30")
SMALL = {
    "model": {"name": "facebook/opt-13b"},
    "data": {"train": {"uri": "s3://data/sst2"}},
    "objective": {"classification": {"prompt": "{sentence} It was", "labels": {"0": " bad", "1": " good"}}},
    "optimizer": {"steps": 100, "learningRate": 3e-05},
    "storage": {"uri": "s3://logs/sst2"},
}
EVERYTHING = {
    **SMALL,
    "model": {"name": "opt", "persistentVolumeClaim": {"claimName": "weights", "subPath": "hub"}},
    "data": {
        "train": {"uri": "train.tsv", "persistentVolumeClaim": {"claimName": "data"}},
        "evaluation": {"uri": "dev.tsv", "persistentVolumeClaim": {"claimName": "data", "subPath": "nlp"}},
    },
    "gate": {
        "regression": {"source": {"uri": "gold.tsv", "persistentVolumeClaim": {"claimName": "gold"}}, "maxLoss": 0.1}
    },
    "storage": {"uri": "s3://logs/sst2", "s3": {"secretRef": "s3", "caSecretRef": "ca", "endpoint": "https://s3:9000"}},
    "activeDeadlineSeconds": 60,
    "queueName": "team",
    "runtime": {
        "image": "registry.example/zo:1", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}],
        "workers": 3, "tensorParallelSize": 2, "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}], "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "priorityClassName": "batch", "serviceAccountName": "trainer",
        "env": [{"name": "HF_HOME", "value": "/elsewhere"}, {"name": "X", "value": "1"}, {"name": "X", "value": "2"}],
        "envFrom": [{"configMapRef": {"name": "proxy"}}],
        "volumes": [{"name": "extra", "emptyDir": {}}], "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
        "podSecurityContext": {"runAsUser": 1000}, "securityContext": {"runAsNonRoot": True},
        "podLabels": {"team": "nlp", names.LABEL_UID: "stolen"}, "podAnnotations": {"note": "hello"},
        "cacheVolume": {"persistentVolumeClaim": {"claimName": "cache", "subPath": "hub"}},
        "hfTokenSecretRef": {"name": "hub", "key": "token"},
    },
}  # fmt: skip


def objects(raw):
    spec = parse_spec(raw)
    made = [
        service.service(OWNER, spec.metrics.port),
        document.config_map(OWNER, spec, "zo-sst2-1-abcdef"),
        job.job(OWNER, spec, "zo-sst2-1-abcdef", "zofinetune/runtime:1"),
        probe.probe_config_map(OWNER, spec, "zo-sst2-probe-1-abcdef"),
        probe.probe_job(OWNER, spec, "zo-sst2-probe-1-abcdef", "zofinetune/runtime:1"),
        cleanup.record(OWNER, spec, "zofinetune/runtime:1"),
    ]
    stored = copy.deepcopy(made[-1])
    stored["metadata"]["uid"] = "8a3f"
    return [*made, cleanup.cleanup_job(stored)]


def round_job(raw):
    return objects(raw)[2]


def container(raw):
    return round_job(raw)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("raw", [SMALL, EVERYTHING], ids=["small", "everything"])
def test_every_object_is_valid_kubernetes(raw, version):
    for made in objects(raw):
        check(made, version)


@pytest.mark.parametrize("raw", [SMALL, EVERYTHING], ids=["small", "everything"])
def test_every_object_is_labelled_and_owned(raw):
    for made in objects(raw):
        labels = made["metadata"]["labels"]
        assert labels[names.LABEL_UID] == OWNER.uid
        assert labels[names.LABEL_MANAGED_BY] == "zofinetune"
        assert all(len(value) <= 63 for value in labels.values())
        if labels[names.LABEL_COMPONENT] == "runtime":
            (owner,) = made["metadata"]["ownerReferences"]
            assert owner["uid"] == OWNER.uid
            assert owner["controller"] is True
            assert owner["blockOwnerDeletion"] is False


@pytest.mark.parametrize("raw", [SMALL, EVERYTHING], ids=["small", "everything"])
def test_every_container_states_its_whole_command(raw):
    for made in objects(raw):
        if made["kind"] == "Job":
            for found in made["spec"]["template"]["spec"]["containers"]:
                assert found["command"][0] == "zo"
                assert "args" not in found


@pytest.mark.parametrize("raw", [SMALL, EVERYTHING], ids=["small", "everything"])
def test_the_runtime_reads_the_mounted_manifest_without_a_remark(raw):
    text = objects(raw)[1]["data"][document.FILE]
    read, notices = parse_document(text, "test")
    assert notices == []
    assert read.metadata.name == "sst2"
    assert read.spec.metrics.host == "0.0.0.0"
    assert read.spec.optimizer == parse_spec(raw).optimizer


def test_claims_and_the_ca_become_paths():
    spec = parse_document(objects(EVERYTHING)[1]["data"][document.FILE], "test")[0].spec
    assert spec.model.name == "/mnt/zofinetune/model/opt"
    assert spec.data.train.uri == "/mnt/zofinetune/train/train.tsv"
    assert spec.data.evaluation.uri == "/mnt/zofinetune/evaluation/dev.tsv"
    assert spec.gate.regression.source.uri == "/mnt/zofinetune/regression/gold.tsv"
    assert spec.storage.s3.ca_file == "/etc/zofinetune-ca/ca.crt"
    assert spec.storage.s3.secret_ref is None
    mounts = {mount["mountPath"]: mount for mount in container(EVERYTHING)["volumeMounts"]}
    assert mounts["/mnt/zofinetune/model"]["subPath"] == "hub"
    assert mounts["/mnt/zofinetune/train"]["name"] == mounts["/mnt/zofinetune/evaluation"]["name"]
    assert mounts["/etc/zofinetune-ca"]["readOnly"] is True
    volumes = {volume["name"]: volume for volume in round_job(EVERYTHING)["spec"]["template"]["spec"]["volumes"]}
    assert set(volumes) == {mount["name"] for mount in mounts.values()}
    assert volumes[mounts["/mnt/zofinetune/model"]["name"]]["persistentVolumeClaim"] == {
        "claimName": "weights",
        "readOnly": True,
    }
    assert volumes["zo-home"]["persistentVolumeClaim"] == {"claimName": "cache"}


def test_the_contract_with_the_runtime():
    found = container(EVERYTHING)
    assert found["command"] == ["zo", "run", "/etc/zofinetune/zofinetune.yaml"]
    env = {variable["name"]: variable.get("value") for variable in found["env"]}
    assert env["ZO_TERMINATION_LOG"] == found["terminationMessagePath"] == "/dev/termination-log"
    assert env["ZO_WORKERS"] == "3"
    assert env["ZO_RENDEZVOUS"] == "zo-sst2-1-abcdef-0.zo-sst2:29500"
    assert env["ZO_WHEN_WORKER_LOST"] == "Wait"
    assert env["ZO_TENSOR_PARALLEL_SIZE"] == "2"
    assert {"secretRef": {"name": "s3"}} in found["envFrom"]
    port = {"name": "metrics", "containerPort": 9464, "protocol": "TCP"}
    assert found["ports"] == [port]
    assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    pod = round_job(EVERYTHING)["spec"]["template"]["spec"]
    assert pod["subdomain"] == service.service(OWNER, 9464)["metadata"]["name"]


def test_a_users_variable_stands_once_and_wins():
    env = [(variable["name"], variable.get("value")) for variable in container(EVERYTHING)["env"]]
    assert len({name for name, _ in env}) == len(env)
    assert ("HF_HOME", "/elsewhere") in env
    assert ("X", "2") in env
    assert next(v for v in container(EVERYTHING)["env"] if v["name"] == "HF_TOKEN")["valueFrom"] == {
        "secretKeyRef": {"name": "hub", "key": "token"}
    }


def test_a_users_labels_cannot_break_selection():
    labels = round_job(EVERYTHING)["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "nlp"
    assert labels[names.LABEL_UID] == OWNER.uid
    assert service.service(OWNER, 0)["spec"]["selector"].items() <= labels.items()


def test_gpus_follow_tensor_parallelism_where_no_resources_are_given():
    assert container(SMALL)["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert container(EVERYTHING)["resources"] == {"limits": {"nvidia.com/gpu": 2}}
    cpu = {**SMALL, "runtime": {"resources": {"requests": {"cpu": 2, "memory": "4Gi"}}}}
    assert container(cpu)["resources"] == {"requests": {"cpu": 2, "memory": "4Gi"}}


def test_shared_memory_comes_with_tensor_parallelism():
    def shm(raw):
        volumes = round_job(raw)["spec"]["template"]["spec"]["volumes"]
        return next((v["emptyDir"] for v in volumes if v["name"] == "zo-shm"), None)

    assert shm(SMALL) is None
    assert shm(EVERYTHING) == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert shm({**SMALL, "runtime": {"shmSize": "1Gi"}}) == {"medium": "Memory", "sizeLimit": "1Gi"}


def test_pods_are_confined_unless_told_otherwise():
    pod = round_job(SMALL)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    own = round_job(EVERYTHING)["spec"]["template"]["spec"]
    assert own["securityContext"] == {"runAsUser": 1000}
    assert own["containers"][0]["securityContext"] == {"runAsNonRoot": True}
    assert own["serviceAccountName"] == "trainer"


def test_the_failure_policy_is_the_table_of_exit_codes():
    ignore, fail = job.pod_failure_policy()["rules"]
    assert ignore["action"] == "Ignore"
    assert ignore["onPodConditions"][0]["type"] == "DisruptionTarget"
    codes = set(fail["onExitCodes"]["values"])
    assert fail["action"] == "FailJob"
    assert codes == {code for code, error in by_exit_code().items() if not error.retryable}
    assert not codes & {0, 1, 137, 143}, "a crash, a kill and a stop are worth a retry"


def test_a_queued_job_is_made_suspended_and_labelled():
    queued, plain = round_job(EVERYTHING), round_job(SMALL)
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert plain["spec"]["suspend"] is False
    assert "kueue.x-k8s.io/queue-name" not in plain["metadata"]["labels"]


def test_the_leaders_success_is_the_rounds():
    assert round_job(EVERYTHING)["spec"]["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert "successPolicy" not in round_job(SMALL)["spec"]
    assert round_job(EVERYTHING)["spec"]["completions"] == 3
    assert "ttlSecondsAfterFinished" not in round_job({**SMALL, "ttlSecondsAfterFinished": 5})["spec"]


def test_no_metrics_port_means_no_probes():
    off = container({**SMALL, "metrics": {"port": 0}})
    assert not {"ports", "livenessProbe", "readinessProbe", "startupProbe"} & set(off)
    assert len(service.service(OWNER, 0)["spec"]["ports"]) == 1


def test_the_cleanup_is_small_and_outlives_the_resource():
    record, cleaner = objects(EVERYTHING)[-2:]
    assert "ownerReferences" not in record["metadata"]
    assert cleaner["metadata"]["ownerReferences"][0]["kind"] == "ConfigMap"
    found = cleaner["spec"]["template"]["spec"]["containers"][0]
    assert "gpu" not in yaml.safe_dump(found["resources"])
    manifest_volume = cleaner["spec"]["template"]["spec"]["volumes"][0]
    assert manifest_volume["configMap"]["name"] == record["metadata"]["name"]
    assert cleaner["spec"]["template"]["metadata"]["labels"][names.LABEL_COMPONENT] == "cleanup"


@pytest.mark.parametrize("name", ["a", "a.b.c", "x" * 253, "1", "a" * 41, "a" * 42, f"{'y' * 60}.z"])
def test_names_fit_where_kubernetes_puts_them(name):
    base = names.base(name)
    assert base[0].isalpha()
    assert "." not in base
    assert len(base) <= 44
    assert len(names.slug(name)) <= 63
    host = f"{names.job(name, 99999, 'content')}-63"
    assert len(host) <= 63
    assert len(names.cleanup(name)) <= 63


def test_similar_names_stay_apart():
    alike = ["a.b", "a-b", "x" * 50, "x" * 51, f"{'x' * 50}.", "a.b-"]
    assert len({names.base(name) for name in alike}) == len(alike)


def test_the_order_of_a_round_reaches_the_runtime():
    version = VersionReference(version=3, sha256="a" * 64)
    order = RoundOrder(number=7, base=version, served=version)
    made = document.config_map(OWNER, parse_spec(EVERYTHING), "zo-sst2-7-abcdef", order)
    read, _ = parse_document(made["data"]["zofinetune.yaml"], "zofinetune.yaml")
    assert read.round == order
    plain, _ = parse_document(objects(SMALL)[1]["data"]["zofinetune.yaml"], "zofinetune.yaml")
    assert plain.round is None
