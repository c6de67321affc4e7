"""Read a manifest: one file, one `ZOFineTune`, and one sentence for each thing that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zo_runtime.config.document import CLUSTER_FIELDS, KIND, Document
from zo_runtime.config.problems import sentences
from zo_runtime.config.yaml_nodes import YAMLProblem, read_documents
from zo_runtime.errors import InvalidSpec

# Kubernetes itself keeps no object above 1.5 MiB.
MAX_BYTES = 1024 * 1024

# What of such a field holds on any machine all the same.
_OBEYED = {"runtime": ", but for tensorParallelSize"}
# Leaves that only a cluster reads, and what holds on this machine instead.
_CLUSTER_LEAVES = {
    "spec.model.persistentVolumeClaim": "spec.model.name is looked up on this machine",
    "spec.data.train.persistentVolumeClaim": "spec.data.train.uri is looked up on this machine",
    "spec.data.evaluation.persistentVolumeClaim": "spec.data.evaluation.uri is looked up on this machine",
    "spec.gate.regression.source.persistentVolumeClaim": "the source.uri is looked up on this machine",
    "spec.storage.s3.secretRef": "credentials come from the environment",
    "spec.storage.s3.caSecretRef": "spec.storage.s3.caFile names the authorities to trust",
}


def load_document(path: str | Path) -> tuple[Document, list[str]]:
    """Read and validate a manifest.

    Returns:
        The document, and one line for each field that only a cluster reads and that is ignored here.

    Raises:
        InvalidSpec: the file cannot be read, or its content is wrong: one line a problem, each with the
            path of the field, its value and the remedy.
    """
    return parse_document(_read(Path(path)), str(path))


def parse_document(text: str, source: str) -> tuple[Document, list[str]]:
    """`load_document` for a text already read; `source` names it in messages about the text as a whole."""
    content = dict(_only_document(text, source))
    notices = list(_set_aside(content))
    try:
        # Strict, and by wire names alone, as the API server is: "100" is no integer, `batch_size` no field.
        document = Document.model_validate(content, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidSpec(_printable("\n".join(sentences(error, Document)))) from error
    return document, notices


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InvalidSpec(f"{path}: there is no such file: give the path of a ZOFineTune manifest") from error
    except IsADirectoryError as error:
        raise InvalidSpec(f"{path}: this is a folder: give the path of a manifest inside it") from error
    except OSError as error:
        raise InvalidSpec(f"{path}: the file cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidSpec(f"{path}: the file is larger than {MAX_BYTES} bytes: that is no manifest")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{path}: the file is not text in UTF-8: save it as UTF-8 YAML") from error


def _only_document(text: str, source: str) -> dict[str, Any]:
    try:
        documents = [document for document in read_documents(text) if document is not None]
    except YAMLProblem as error:
        raise InvalidSpec(_printable(f"{source}: this is not a YAML manifest: {error}")) from error
    if not documents:
        raise InvalidSpec(f"{source}: the file is empty: write a ZOFineTune manifest into it")
    if len(documents) > 1:
        kinds = ", ".join(_kind(document) for document in documents)
        raise InvalidSpec(
            _printable(
                f"{source}: the file holds {len(documents)} documents ({kinds}): keep exactly one {KIND} in it "
                "and move the others to files of their own"
            )
        )
    content = documents[0]
    if not isinstance(content, dict):
        raise InvalidSpec(
            f"{source}: this is a {'list' if isinstance(content, list) else 'single value'}, not a manifest: "
            "start it with apiVersion, kind, metadata and spec"
        )
    return content


def _kind(document: object) -> str:
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind[:63] if isinstance(kind, str) else "one without a kind"


def _set_aside(content: dict[str, Any]) -> Iterator[str]:
    """Take the cluster-only fields of `spec` out of the content, and yield a line for each one that is set."""
    spec = content.get("spec")
    if not isinstance(spec, dict):
        return
    content["spec"] = {name: value for name, value in spec.items() if name not in CLUSTER_FIELDS}
    for name in CLUSTER_FIELDS:
        if spec.get(name) is not None:
            yield f"spec.{name}: ignored outside a cluster{_OBEYED.get(name, '')}"
    for path, instead in _CLUSTER_LEAVES.items():
        if _at(content, path) is not None:
            yield f"{path}: ignored outside a cluster: {instead}"


def _at(content: dict[str, Any], path: str) -> object:
    value: object = content
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _printable(text: str) -> str:
    """The text with lone surrogates escaped, so that any terminal and any log can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
