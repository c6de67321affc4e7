"""Layer shapes of a base model, read from its configuration: no weights are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zo_runtime.config.model import Model
from zo_runtime.errors import UnsupportedModel
from zo_runtime.zo.layout import TensorShape, select_targets


def skeleton(model: Model) -> Any:
    """The model on the meta device, with its configuration as `.config`: every shape, no memory, no weights."""
    import torch  # noqa: PLC0415 - engine room only: nothing else may pay for this import
    import transformers  # noqa: PLC0415

    try:
        config = transformers.AutoConfig.from_pretrained(
            model.name, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
        with torch.device("meta"):
            return transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=model.trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise UnsupportedModel(
            f"spec.model.name: {model.name}: cannot read a causal language model's configuration there "
            f"({_first_line(error)}): give a Hugging Face id or a folder with config.json"
        ) from error


def quantization_method(model: Model) -> str | None:
    """The quantization that the engine is to run: the manifest's, or else the checkpoint's, with its bits where they
    are one number; None for plain weights."""
    import transformers  # noqa: PLC0415

    if model.quantization is not None:
        return model.quantization
    settings, _ = transformers.PretrainedConfig.get_config_dict(model.name, revision=model.revision)
    found = settings.get("quantization_config")
    if not isinstance(found, dict):
        return None
    method = str(found.get("quant_method", "unnamed"))
    return f"{method} with {found['bits']} bits" if "bits" in found else method


def linear_shapes(model: Model) -> tuple[TensorShape, ...]:
    """Every linear layer of the model, in its own order."""
    return shapes_of(skeleton(model))


def shapes_of(module: Any) -> tuple[TensorShape, ...]:
    """Every linear layer of a model, in its own order."""
    import torch  # noqa: PLC0415

    return tuple(
        TensorShape(name, part.out_features, part.in_features)
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear)
    )


def adapted_shapes(model: Model, target_modules: list[str]) -> tuple[TensorShape, ...]:
    """The linear layers that `spec.optimizer.targetModules` selects."""
    return require_targets(linear_shapes(model), target_modules, model.name)


def require_targets(shapes: Sequence[TensorShape], target_modules: list[str], name: str) -> tuple[TensorShape, ...]:
    """The selected ones of a model's linear layers. Raise `UnsupportedModel` where there is none."""
    chosen = select_targets(shapes, target_modules)
    if not chosen:
        names = ", ".join(sorted({s.name.rsplit(".", 1)[-1] for s in shapes})) or "none"
        raise UnsupportedModel(
            f"spec.optimizer.targetModules: none of {', '.join(target_modules)} is a linear layer of {name}; "
            f"its linear layers are: {names}"
        )
    return chosen


def model_digest(model: Model) -> str:
    """SHA-256 over the configuration and the weights: names, then contents, in the order of names.

    Files of the Hugging Face cache are links to blobs that carry their own SHA-256 as a name; those are not
    read again.
    """
    folder = Path(model.name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download  # noqa: PLC0415

        folder = Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(WEIGHTS)))
    return weights_digest(folder, model.name)


WEIGHTS = ("config.json", "*.safetensors")
_SHA256_HEX = 64


def content_digest(file: Path) -> str:
    """SHA-256 of a file of weights."""
    blob = file.resolve().name
    if file.is_symlink() and len(blob) == _SHA256_HEX:
        return blob
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_digest(folder: Path, name: str, digest_of: Callable[[Path], str] = content_digest) -> str:
    """`model_digest` of the model in a folder; `name` is what users call it."""
    files = sorted(f for pattern in WEIGHTS for f in folder.glob(pattern))
    if not any(f.suffix == ".safetensors" for f in files):
        raise UnsupportedModel(f"spec.model.name: {name}: no *.safetensors weights there")
    sha = hashlib.sha256(b"zo-model-1\n")
    for file in files:
        sha.update(f"{file.name} {digest_of(file)}\n".encode())
    return sha.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
