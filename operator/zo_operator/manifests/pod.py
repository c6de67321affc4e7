"""The pod of a round: one container that runs `zo run` on the mounted manifest."""

from __future__ import annotations

from typing import Any

from zo_operator import names
from zo_operator.api.runtime import Resources, Runtime
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.document import CA_FOLDER, FILE, FOLDER, claims
from zo_operator.manifests.metadata import Object, Owner, labels
from zo_operator.manifests.service import RENDEZVOUS_PORT

CONTAINER = "runtime"
HOME = "/var/lib/zofinetune"
TEMPORARY = "/var/tmp/zofinetune"  # noqa: S108 -- a mount of its own
TERMINATION_LOG = "/dev/termination-log"
_DEFAULT_SHM = "8Gi"

# The user of the project's images, so that volumes can be written.
_POD_SECURITY = {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_template(owner: Owner, spec: ZOFineTuneSpec, job: str, image: str) -> Object:
    """`spec.template` of a round's Job."""
    runtime = spec.runtime
    pod: Object = {
        "restartPolicy": "Never",
        "subdomain": names.service(owner.name),
        "enableServiceLinks": False,
        "automountServiceAccountToken": runtime.service_account_name is not None,
        "terminationGracePeriodSeconds": runtime.termination_grace_period_seconds,
        "securityContext": _POD_SECURITY if runtime.pod_security_context is None else runtime.pod_security_context,
        "containers": [_container(spec, job, names.service(owner.name), image)],
        "volumes": _volumes(spec, job),
    }
    pod |= _placement(runtime)
    own = labels(owner)
    template: Object = {"metadata": {"labels": runtime.pod_labels | own}, "spec": pod}
    if runtime.pod_annotations:
        template["metadata"]["annotations"] = dict(runtime.pod_annotations)
    return template


def _placement(runtime: Runtime) -> Object:
    """The pod-level overrides that were given."""
    given: Object = {
        "serviceAccountName": runtime.service_account_name,
        "priorityClassName": runtime.priority_class_name,
        "nodeSelector": dict(runtime.node_selector),
        "tolerations": list(runtime.tolerations),
        "affinity": runtime.affinity,
        "topologySpreadConstraints": list(runtime.topology_spread_constraints),
        "imagePullSecrets": [{"name": secret.name} for secret in runtime.image_pull_secrets],
    }
    return {key: value for key, value in given.items() if value}


def _container(spec: ZOFineTuneSpec, job: str, service: str, image: str) -> Object:
    runtime = spec.runtime
    container: Object = {
        "name": CONTAINER,
        "image": runtime.image or image,
        "command": ["zo", "run", f"{FOLDER}/{FILE}"],
        "env": environment(spec, job, service),
        "resources": _resources(runtime),
        "volumeMounts": _mounts(spec),
        "terminationMessagePath": TERMINATION_LOG,
        # Without a message from the runtime, the end of the log is the best there is.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _CONTAINER_SECURITY if runtime.security_context is None else runtime.security_context,
    }
    if runtime.image_pull_policy:
        container["imagePullPolicy"] = runtime.image_pull_policy
    sources = [dict(source) for source in runtime.env_from]
    if spec.storage.s3.secret_ref:
        sources.insert(0, {"secretRef": {"name": spec.storage.s3.secret_ref}})
    if sources:
        container["envFrom"] = sources
    return container | _ports_and_probes(spec.metrics.port)


def _ports_and_probes(port: int) -> Object:
    """Probes of `/healthz`. Loading a model may take an hour; a run that hangs is restarted after five minutes."""
    if not port:
        return {}
    check = {"httpGet": {"path": "/healthz", "port": "metrics"}, "timeoutSeconds": 5}
    return {
        "ports": [{"name": "metrics", "containerPort": port, "protocol": "TCP"}],
        "startupProbe": check | {"periodSeconds": 10, "failureThreshold": 360},
        "readinessProbe": check | {"periodSeconds": 10, "failureThreshold": 3},
        "livenessProbe": check | {"periodSeconds": 30, "failureThreshold": 10},
    }


def environment(spec: ZOFineTuneSpec, job: str, service: str) -> list[Object]:
    """The container's variables; the user's win, and every name stands once, as server-side apply demands."""
    runtime = spec.runtime
    plain = {
        "HOME": HOME,
        "TMPDIR": TEMPORARY,
        "HF_HOME": f"{HOME}/huggingface",
        "ZO_TERMINATION_LOG": TERMINATION_LOG,
        "ZO_WORKERS": str(runtime.workers),
        "ZO_RENDEZVOUS": f"{job}-0.{service}:{RENDEZVOUS_PORT}",
        "ZO_WHEN_WORKER_LOST": runtime.when_worker_lost,
        "ZO_TENSOR_PARALLEL_SIZE": str(runtime.tensor_parallel_size),
    }
    variables: dict[str, Object] = {name: {"name": name, "value": value} for name, value in plain.items()}
    token = runtime.hf_token_secret_ref
    if token is not None:
        reference = {"secretKeyRef": {"name": token.name, "key": token.key}}
        variables["HF_TOKEN"] = {"name": "HF_TOKEN", "valueFrom": reference}
    for variable in runtime.env:
        variables[variable["name"]] = dict(variable)
    return list(variables.values())


def _resources(runtime: Runtime) -> Object:
    given = runtime.resources or Resources(limits={"nvidia.com/gpu": runtime.tensor_parallel_size})
    return given.model_dump(mode="json", by_alias=True, exclude_none=True)


def _volumes(spec: ZOFineTuneSpec, job: str) -> list[Object]:
    cache, claim = spec.runtime.cache_volume, spec.runtime.cache_volume.persistent_volume_claim
    home: dict[str, Any] = {"emptyDir": {"sizeLimit": cache.size_limit} if cache.size_limit else {}}
    if claim is not None:
        home = {"persistentVolumeClaim": {"claimName": claim.claim_name}}
    volumes: list[Object] = [
        {"name": "zo-manifest", "configMap": {"name": job}},
        {"name": "zo-home", **home},
        {"name": "zo-tmp", "emptyDir": {}},
    ]
    if (size := _shm_size(spec.runtime)) is not None:
        volumes.append({"name": "zo-shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    if spec.storage.s3.ca_secret_ref:
        volumes.append({"name": "zo-ca", "secret": {"secretName": spec.storage.s3.ca_secret_ref}})
    for name in sorted({claim.claim_name for claim in claims(spec).values()}):
        source = {"claimName": name, "readOnly": True}
        volumes.append({"name": f"zo-claim-{names.digest(name)}", "persistentVolumeClaim": source})
    return volumes + [dict(volume) for volume in spec.runtime.volumes]


def _mounts(spec: ZOFineTuneSpec) -> list[Object]:
    claim = spec.runtime.cache_volume.persistent_volume_claim
    home: Object = {"name": "zo-home", "mountPath": HOME}
    if claim is not None and claim.sub_path:
        home["subPath"] = claim.sub_path
    mounts: list[Object] = [
        {"name": "zo-manifest", "mountPath": FOLDER, "readOnly": True},
        home,
        {"name": "zo-tmp", "mountPath": TEMPORARY},
    ]
    if _shm_size(spec.runtime) is not None:
        mounts.append({"name": "zo-shm", "mountPath": "/dev/shm"})  # noqa: S108 -- where NCCL looks
    if spec.storage.s3.ca_secret_ref:
        mounts.append({"name": "zo-ca", "mountPath": CA_FOLDER, "readOnly": True})
    for path, source in claims(spec).items():
        mount: Object = {"name": f"zo-claim-{names.digest(source.claim_name)}", "mountPath": path, "readOnly": True}
        mounts.append(mount | ({"subPath": source.sub_path} if source.sub_path else {}))
    return mounts + [dict(mount) for mount in spec.runtime.volume_mounts]


def _shm_size(runtime: Runtime) -> int | str | None:
    return runtime.shm_size or (_DEFAULT_SHM if runtime.tensor_parallel_size > 1 else None)
