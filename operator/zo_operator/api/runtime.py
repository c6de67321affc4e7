"""`spec.runtime`: the pods that a round runs in."""

# ruff: noqa: RUF012 -- pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zo_operator.api.types import (
    Annotations,
    EnvVar,
    Labels,
    PodObject,
    Quantity,
    ResourceName,
    Volume,
    VolumeMount,
)
from zo_runtime.config.base import PositiveInt, SpecModel


class LocalReference(SpecModel):
    """A reference to an object in the resource's namespace."""

    name: ResourceName
    """Name of the object."""


class SecretKeyReference(SpecModel):
    """One key of a Secret in the resource's namespace."""

    name: ResourceName
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)] = "token"
    """Key in the Secret. Default: `token`."""


class CacheClaim(SpecModel):
    """A persistent volume claim that the pods write to."""

    claim_name: ResourceName
    """Name of a PersistentVolumeClaim in the resource's namespace."""
    sub_path: Annotated[str, Field(max_length=1024)] = ""
    """Folder inside the volume, without a leading slash. Default: the volume's root."""


class CacheVolume(SpecModel):
    """Where downloaded weights and compiled kernels are kept."""

    persistent_volume_claim: CacheClaim | None = None
    """A volume that outlives the pod, so that the next round starts faster. Default: an `emptyDir`."""
    size_limit: Quantity | None = None
    """Size limit of the `emptyDir`. Default: none."""


class Resources(SpecModel):
    """Compute resources of one pod, as in a container."""

    limits: Annotated[dict[str, Quantity], Field(max_length=32)] | None = None
    """Largest amounts, by resource name: `nvidia.com/gpu: 1`."""
    requests: Annotated[dict[str, Quantity], Field(max_length=32)] | None = None
    """Reserved amounts, by resource name. Default: the limits."""
    claims: Annotated[list[PodObject], Field(max_length=32)] | None = None
    """Claims of dynamic resource allocation."""


class Runtime(SpecModel):
    """The pods of a round. A change replaces the pods of a running round, which goes on from its log; a
    completed round is left as it is."""

    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Image with the `zo` command. Default: the operator's setting."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Default: Kubernetes's, by the image's tag."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=16)] = []
    """Secrets with credentials of the image registry. Default: none."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Pods that score in parallel; each needs the resources below. Default: 1."""
    when_worker_lost: Literal["Wait", "Continue"] = "Wait"
    """What the other workers do while one of several is missing: wait for it, or take over its share until it joins
    again. The log is the same. Without worker 0, which writes the log, all wait. Default: Wait."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs of one pod over which vLLM spreads the model. Default: 1."""
    resources: Resources | None = None
    """Resources of one pod. Default: as many `nvidia.com/gpu` as `tensorParallelSize`."""
    node_selector: Labels = {}
    """Labels of the nodes to run on. Default: any node."""
    tolerations: Annotated[list[PodObject], Field(max_length=64)] = []
    """Tolerations, as in a pod."""
    affinity: PodObject | None = None
    """Affinity, as in a pod."""
    topology_spread_constraints: Annotated[list[PodObject], Field(max_length=16)] = []
    """Topology spread constraints, as in a pod."""
    priority_class_name: ResourceName | None = None
    """Priority class of the pods. Default: the cluster's."""
    service_account_name: ResourceName | None = None
    """Service account of the pods, for example one that may reach the bucket. Default: the namespace's."""
    env: Annotated[list[EnvVar], Field(max_length=128)] = []
    """Environment variables of the container, as in a pod. One that the operator sets itself is replaced."""
    env_from: Annotated[list[PodObject], Field(max_length=32)] = []
    """Sources of environment variables, as in a pod."""
    volumes: Annotated[list[Volume], Field(max_length=32)] = []
    """Further volumes of the pods."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = []
    """Further volume mounts of the container; each names a volume of `volumes`."""
    pod_security_context: PodObject | None = None
    """Security context of the pods. Default: non-root, group 65532 for volumes, `RuntimeDefault` seccomp."""
    security_context: PodObject | None = None
    """Security context of the container. Default: read-only root, no privilege escalation, no capabilities."""
    pod_labels: Labels = {}
    """Further labels of the pods; the operator's own win."""
    pod_annotations: Annotations = {}
    """Further annotations of the pods."""
    shm_size: Quantity | None = None
    """Size of `/dev/shm`, which tensor parallelism needs. Default: 8Gi when `tensorParallelSize` is above 1, else
    the container runtime's."""
    cache_volume: CacheVolume = CacheVolume()
    """Where downloaded weights and compiled kernels are kept."""
    hf_token_secret_ref: SecretKeyReference | None = None
    """Token for gated models of the Hugging Face hub. Default: none."""
    termination_grace_period_seconds: PositiveInt = 60
    """Seconds that a stopped pod has to write its last steps to the log. Default: 60."""
