"""`spec.model`: which base model is adapted, and how it is loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zo_runtime.config.base import Name, SpecModel


class VolumeClaim(SpecModel):
    """A persistent volume claim that holds files; only a cluster reads it."""

    claim_name: Name
    """Name of a PersistentVolumeClaim in the resource's namespace. It is mounted read-only."""
    sub_path: str = ""
    """Folder inside the volume, without a leading slash. Default: the volume's root."""


class Model(SpecModel):
    """The base model. Its weights are never written."""

    name: Annotated[str, Field(min_length=1, max_length=1024)]
    """A Hugging Face model id, or a folder with `config.json`, safetensors weights and a tokenizer.
    With `persistentVolumeClaim`, a folder relative to the claim."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face model. Default: the hub's default branch."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Type of the weights and activations. Default: the checkpoint's own type."""
    quantization: str | None = None
    """vLLM's name of a quantization method, for example `fp8`. Default: what the checkpoint says."""
    max_length: Annotated[int, Field(ge=8, le=1_048_576)] = 1024
    """Longest prompt plus completion, in tokens. Longer records go to the quarantine. Default: 1024."""
    trust_remote_code: bool = False
    """Whether code that ships with the checkpoint may run. Default: false."""
    persistent_volume_claim: VolumeClaim | None = None
    """Take the model from a volume instead of the hub. Cluster only."""
