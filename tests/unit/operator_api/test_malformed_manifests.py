"""Malformed manifests, made by changing one field of a full one: each is refused with the field's name."""

import copy
import itertools

import pytest
import yaml

from fakes import kube_schema
from fakes.kube import ROOT, SCHEMA, Refusal, admit_resource
from zo_operator.api.rules import LOG_IDENTITY, RULES

FULL = yaml.safe_load("""
apiVersion: zofinetune.io/v1alpha1
kind: ZOFineTune
metadata: {name: full, namespace: default}
spec:
  model:
    name: models/opt
    revision: main
    dtype: bfloat16
    quantization: fp8
    maxLength: 512
    trustRemoteCode: false
    persistentVolumeClaim: {claimName: weights, subPath: opt}
  data:
    train:
      uri: sst2/train.tsv
      format: tsv
      columns: [sentence, label]
      persistentVolumeClaim: {claimName: data, subPath: nlp}
    evaluation:
      uri: s3://data/dev.jsonl
      format: jsonl
    heldOut: {examples: 100, fraction: 0.2}
    quarantine: {maxFraction: 0.1}
    maxExamples: 1000
    seed: 1
  objective:
    classification:
      prompt: "{sentence} It was"
      labelField: label
      labels: {"0": " terrible", "1": " great"}
      singleToken: true
  optimizer:
    steps: 100
    batchSize: 8
    learningRate: 1.0e-4
    schedule: cosine
    epsilon: 0.001
    directions: 2
    rank: 4
    subspaces: 2
    interval: 10
    distribution: rademacher
    momentum: {beta: 0.9}
    clip: 10.0
    weightDecay: 0.1
    targetModules: [q_proj, v_proj]
    seed: 3
  evaluation:
    every: 50
    maxExamples: 200
    earlyStopping: {patience: 3, minDelta: 0.001}
    maxLossIncrease: 0.5
  storage:
    uri: s3://logs/run
    s3:
      endpoint: https://s3.example:9000
      region: eu-west-1
      pathStyle: true
      secretRef: s3
      caSecretRef: ca
    flush: {everySteps: 10, everySeconds: 5.0}
  metrics: {port: 9464, host: 0.0.0.0}
  runtime:
    image: registry.example/zo:1
    imagePullPolicy: Always
    imagePullSecrets: [{name: registry}]
    workers: 2
    tensorParallelSize: 2
    resources:
      limits: {nvidia.com/gpu: 2, memory: 64Gi}
      requests: {cpu: 500m}
    nodeSelector: {gpu: h100}
    tolerations: [{key: gpu, operator: Exists}]
    affinity: {nodeAffinity: {}}
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
    priorityClassName: batch
    serviceAccountName: trainer
    env: [{name: NCCL_DEBUG, value: INFO}]
    envFrom: [{configMapRef: {name: proxy}}]
    volumes: [{name: extra, emptyDir: {}}]
    volumeMounts: [{name: extra, mountPath: /extra}]
    podSecurityContext: {runAsUser: 1000}
    securityContext: {readOnlyRootFilesystem: false}
    podLabels: {team: nlp}
    podAnnotations: {note: hello}
    shmSize: 16Gi
    cacheVolume:
      persistentVolumeClaim: {claimName: cache, subPath: hub}
    hfTokenSecretRef: {name: hub, key: token}
    terminationGracePeriodSeconds: 90
  suspend: false
  ttlSecondsAfterFinished: 3600
  activeDeadlineSeconds: 86400
  backoffLimit: 3
  queueName: team
  deletionPolicy: Delete
""")

# Where anything goes, because the API server checks it when the pod is made.
OPEN = {
    ("spec", "runtime", name)
    for name in (
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "envFrom",
        "podSecurityContext",
        "securityContext",
    )
}
# What volumes are made of is the API server's to check as well.
BEYOND = ("spec", "runtime", "volumes", 0, "emptyDir")


def walk(value, path=()):
    """Every field of the manifest's spec, as (path, value)."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        below = (*path, key)
        yield below, item
        if isinstance(item, dict | list) and below not in OPEN:
            yield from walk(item, below)


def changed(path, value, base=FULL):
    body = copy.deepcopy(base)
    holder = body
    for part in path[:-1]:
        holder = holder[part]
    if value is REMOVED:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return body


REMOVED = object()


def written(path):
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def wrong_type(value):
    if isinstance(value, dict):
        return "text"
    return {"a": "map"} if not isinstance(value, list) else "text"


def refusal(body, old=None):
    """What the API server answers, or none when it takes the manifest."""
    try:
        _, wrong = admit_resource(copy.deepcopy(body), old, strict=True)
    except Refusal as refused:
        return refused.message
    return ", ".join(wrong) or None


FIELDS = [(path, value) for path, value in walk(FULL["spec"], ("spec",)) if path != BEYOND]
OBJECTS = [path for path, value in FIELDS if isinstance(value, dict) and path not in OPEN]
MAPS = {"labels", "limits", "requests", "nodeSelector", "podLabels", "podAnnotations"}

WRONG_TYPE = [(path, wrong_type(value)) for path, value in FIELDS]
UNKNOWN = [
    ((*path, "unknwon"), 1)
    for path in [("spec",), *OBJECTS]
    if path[-1] not in MAPS and path[-2:-1] not in (("env",), ("volumes",), ("volumeMounts",))
]
EMPTY = [
    (path, None)
    for path, value in FIELDS
    if isinstance(value, int | float | bool | str) and not isinstance(path[-1], int)
]
REQUIRED = [
    ("spec",), ("spec", "model"), ("spec", "model", "name"), ("spec", "model", "persistentVolumeClaim", "claimName"),
    ("spec", "data"), ("spec", "data", "train"), ("spec", "data", "train", "uri"),
    ("spec", "data", "evaluation", "uri"),
    ("spec", "objective"), ("spec", "objective", "classification", "prompt"),
    ("spec", "objective", "classification", "labels"),
    ("spec", "optimizer"), ("spec", "optimizer", "steps"), ("spec", "optimizer", "momentum", "beta"),
    ("spec", "evaluation", "earlyStopping", "patience"), ("spec", "storage"), ("spec", "storage", "uri"),
    ("spec", "runtime", "imagePullSecrets", 0, "name"), ("spec", "runtime", "env", 0, "name"),
    ("spec", "runtime", "volumes", 0, "name"), ("spec", "runtime", "volumeMounts", 0, "mountPath"),
    ("spec", "runtime", "cacheVolume", "persistentVolumeClaim", "claimName"),
    ("spec", "runtime", "hfTokenSecretRef", "name"),
]  # fmt: skip
LIMITS = [
    ("model.name", ""), ("model.maxLength", 7), ("model.maxLength", 1048577), ("model.dtype", "int4"),
    ("data.train.format", "xml"), ("data.train.uri", ""), ("data.heldOut.fraction", 1.5),
    ("data.heldOut.fraction", -0.1),
    ("data.heldOut.examples", 0), ("data.quarantine.maxFraction", 2), ("data.maxExamples", 0), ("data.seed", -1),
    ("objective.classification.labels", {"0": " a"}), ("objective.classification.prompt", ""),
    ("optimizer.steps", 0), ("optimizer.steps", 1.5), ("optimizer.batchSize", 0), ("optimizer.batchSize", 65537),
    ("optimizer.learningRate", 0), ("optimizer.learningRate", -1), ("optimizer.schedule", "linear"),
    ("optimizer.epsilon", 0), ("optimizer.directions", 65), ("optimizer.rank", 0), ("optimizer.subspaces", 257),
    ("optimizer.interval", 0), ("optimizer.distribution", "gaussian"), ("optimizer.momentum.beta", 1),
    ("optimizer.clip", 0), ("optimizer.weightDecay", -1), ("optimizer.targetModules", []), ("optimizer.seed", 2**64),
    ("evaluation.every", 0), ("evaluation.earlyStopping.patience", 0), ("evaluation.maxLossIncrease", 0),
    ("storage.flush.everySteps", 0), ("storage.flush.everySeconds", 0), ("metrics.port", 65536), ("metrics.port", -1),
    ("runtime.workers", 0), ("runtime.workers", 65), ("runtime.tensorParallelSize", 0),
    ("runtime.imagePullPolicy", "Sometimes"), ("runtime.shmSize", "lots"),
    ("runtime.resources.limits.memory", "64 GB"),
    ("runtime.priorityClassName", "Not A Name"), ("runtime.serviceAccountName", ""),
    ("runtime.podLabels.team", "white space"), ("runtime.terminationGracePeriodSeconds", 0),
    ("ttlSecondsAfterFinished", -1), ("activeDeadlineSeconds", 0), ("backoffLimit", -1), ("queueName", "Team!"),
    ("deletionPolicy", "Keep"), ("storage.uri", "x" * 2049),
]  # fmt: skip
BY_RULE = [
    ("objective.completion", {"prompt": "a", "completion": "b"}, "objective"),
    ("objective", {}, "objective"),
    ("storage.uri", "s3://", "storage.uri"),
    ("storage.uri", "gs://bucket/x", "storage.uri"),
    ("data.train.uri", "https://example/x", "data.train.uri"),
    ("data.evaluation.uri", "s3://No_Bucket/x", "data.evaluation.uri"),
    ("model.name", "/models/opt", "model.name"),
    ("model.name", "../opt", "model.name"),
    ("data.train.uri", "/etc/passwd", "data.train.uri"),
    ("data.train.uri", "a/../b", "data.train.uri"),
    ("data.evaluation.persistentVolumeClaim", {"claimName": "x"}, "data.evaluation.uri"),
    ("model.persistentVolumeClaim.subPath", "/x", "model.persistentVolumeClaim.subPath"),
    ("data.train.persistentVolumeClaim.subPath", "../x", "data.train.persistentVolumeClaim.subPath"),
    (
        "data.evaluation.persistentVolumeClaim",
        {"claimName": "x", "subPath": ".."},
        "data.evaluation.persistentVolumeClaim",
    ),
    ("runtime.cacheVolume.persistentVolumeClaim.subPath", "/", "runtime.cacheVolume.persistentVolumeClaim.subPath"),
    ("storage.s3.endpoint", "s3.example:9000", "storage.s3.endpoint"),
    ("storage.s3.caFile", "/ca.crt", "storage.s3.caFile"),
    ("runtime.volumeMounts", [{"name": "other", "mountPath": "/x"}], "runtime.volumeMounts"),
    ("runtime.volumes", [{"name": "extra"}, {"name": "zo-home"}], "runtime.volumes"),
    ("runtime.cacheVolume.sizeLimit", "1Gi", "runtime.cacheVolume.sizeLimit"),
]
OTHER_VALUES = {
    "model.name": "models/other", "model.revision": "dev", "model.dtype": "auto", "model.maxLength": 64,
    "data.seed": 9,
    "objective": {"completion": {"prompt": "a", "completion": "b"}}, "optimizer.steps": 101, "optimizer.batchSize": 4,
    "optimizer.learningRate": 1e-5, "optimizer.schedule": "constant", "optimizer.clip": 1.0,
    "optimizer.seed": 4, "optimizer.rank": 8, "optimizer.subspaces": 3, "optimizer.interval": 11,
    "optimizer.directions": 1, "optimizer.distribution": "binomial16", "optimizer.epsilon": 0.002,
    "optimizer.weightDecay": 0.2, "optimizer.targetModules": ["q_proj"], "optimizer.momentum": {"beta": 0.8},
}  # fmt: skip


def dotted(text):
    return ("spec", *text.split("."))


def test_the_full_manifest_is_taken():
    assert refusal(FULL) is None


def test_the_full_manifest_names_every_field():
    def leaves(schema, path):
        for name, below in schema.get("properties", {}).items():
            yield (*path, name)
            yield from leaves(below.get("items", below), (*path, name))

    named = {tuple(part for part in path if not isinstance(part, int)) for path, _ in FIELDS}
    left_out = set(leaves(SCHEMA["properties"]["spec"], ("spec",))) - named
    alternatives = {
        ("spec", "storage", "s3", "caFile"),
        ("spec", "runtime", "cacheVolume", "sizeLimit"),
        ("spec", "runtime", "resources", "claims"),
        ("spec", "data", "train", "persistentVolumeClaim"),
        ("spec", "data", "evaluation", "columns"),
    }
    prefixes = (("spec", "objective", "completion"), ("spec", "data", "evaluation", "persistentVolumeClaim"))
    assert {path for path in left_out - alternatives if not any(path[: len(p)] == p for p in prefixes)} == set()


CASES = [
    *((written(path), changed(path, value)) for path, value in WRONG_TYPE),
    *((written(path), changed(path, value)) for path, value in UNKNOWN),
    *((written(path), changed(path, value)) for path, value in EMPTY),
    *((written(path), changed(path, REMOVED)) for path in REQUIRED),
    *((f"spec.{path}", changed(dotted(path), value)) for path, value in LIMITS),
    *((f"spec.{field}", changed(dotted(path), value)) for path, value, field in BY_RULE),
]


def test_there_are_enough():
    assert len(CASES) >= 300


def test_every_malformed_manifest_is_refused_with_its_field():
    # A default fills what is given as nothing, and a number may be written for a text's missing neighbour.
    defaulted = {written(path) for path, _ in EMPTY if refusal(changed(path, None)) is None}
    missed = []
    for field, body in CASES:
        message = refusal(body)
        if message is None and field in defaulted:
            continue
        if message is None or field not in message:
            missed.append((field, message))
    assert missed == []
    assert len(CASES) - len(defaulted) >= 280


@pytest.mark.parametrize("field", LOG_IDENTITY)
def test_what_a_log_is_bound_to_changes_with_its_uri_only(field):
    body = changed(dotted(field), OTHER_VALUES[field])
    assert f"spec.{field}" in refusal(body, FULL)
    assert "choose another storage.uri" in refusal(body, FULL)
    body["spec"]["storage"]["uri"] = "s3://logs/another"
    assert refusal(body, FULL) is None


@pytest.mark.parametrize("field", ["model.revision", "optimizer.clip", "optimizer.momentum"])
def test_an_optional_part_of_the_identity_cannot_come_or_go(field):
    without = changed(dotted(field), REMOVED)
    assert f"spec.{field}" in refusal(without, FULL)
    assert f"spec.{field}" in refusal(FULL, without)


def test_the_queue_changes_only_while_suspended():
    body = changed(dotted("queueName"), "other")
    assert "spec.queueName" in refusal(body, FULL)
    assert "spec.queueName" in refusal(changed(dotted("queueName"), REMOVED), FULL)
    assert refusal(body, changed(dotted("suspend"), True)) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.persistentVolumeClaim", {"claimName": "others"}), ("data.train.uri", "fresh"),
        ("data.maxExamples", 10),
        ("suspend", True), ("runtime.nodeSelector", {"a": "b"}), ("backoffLimit", 9), ("ttlSecondsAfterFinished", 1),
        ("evaluation.every", 10), ("storage.flush.everySteps", 5), ("deletionPolicy", "Retain"), ("metrics.port", 0),
    ],
)  # fmt: skip
def test_everything_else_may_change(path, value):
    assert refusal(changed(dotted(path), value), FULL) is None


def test_every_rule_is_broken_by_some_case():
    """A rule that no manifest here breaks is a rule that nobody tested."""
    told = set()
    pairs = [(body, None) for _, body in CASES]
    pairs += [(changed(dotted(field), OTHER_VALUES[field]), FULL) for field in LOG_IDENTITY]
    pairs.append((changed(dotted("queueName"), "other"), FULL))
    for body, old in pairs:
        if (message := refusal(body, old)) is not None:
            told |= {rule.message for rule in RULES if rule.message in message}
    assert told == {rule.message for rule in RULES}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_taken(path):
    for body in yaml.safe_load_all(path.read_text()):
        if body and body["kind"] == "ZOFineTune":
            body["metadata"].setdefault("namespace", "default")
            assert refusal(body) is None


def test_unknown_fields_are_dropped_without_strict_validation():
    body = changed(("spec", "model", "unknwon"), 1)
    stored, wrong = admit_resource(copy.deepcopy(body), None, strict=False)
    assert wrong == []
    assert "unknwon" not in stored["spec"]["model"]


def test_defaults_are_filled_in_depth():
    minimal = {key: FULL["spec"][key] for key in ("model", "data", "objective", "storage")}
    body = {**FULL, "spec": {**minimal, "optimizer": {"steps": 5}}}
    spec = admit_resource(copy.deepcopy(body), None, strict=True)[0]["spec"]
    assert spec["optimizer"]["rank"] == 2
    assert spec["runtime"]["cacheVolume"] == {}
    assert spec["runtime"]["workers"] == 1
    assert spec["evaluation"]["every"] == 500
    assert spec["backoffLimit"] == 6
    assert kube_schema.validate(spec, SCHEMA["properties"]["spec"], "spec") == []
    assert list(itertools.islice(kube_schema.unknown_fields(spec, SCHEMA["properties"]["spec"]), 1)) == []
