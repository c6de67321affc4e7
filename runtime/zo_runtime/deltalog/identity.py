"""Whether a log belongs to the run that wants to continue it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zo_runtime.deltalog.documents import RunInfo
from zo_runtime.errors import LogMismatch

_ABSENT = object()


def require_same_run(stored: RunInfo, wanted: RunInfo, uri: str) -> None:
    """Raise `LogMismatch` naming the first field that differs. The time of creation is no identity, and a model
    is the same under another name or path as long as its digest is."""
    if stored.model.digest != wanted.model.digest and stored.model.name != wanted.model.name:
        _refuse("model.name", stored.model.name, wanted.model.name, uri)
    for path, old, new in _differences("", _identity(stored), _identity(wanted)):
        _refuse(path, old, new, uri)


def _identity(run: RunInfo) -> dict[str, Any]:
    fields = run.model_dump(mode="json", by_alias=True, exclude={"created": True, "model": {"name", "revision"}})
    return {"model": fields.pop("model"), **fields}  # a wrong model also has other shapes: name it first


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(k for k in old if k not in new)]:
            yield from _differences(f"{path}.{key}".lstrip("."), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}[{i}]", a, b)
    elif old != new or type(old) is not type(new):
        yield path, old, new


def _refuse(path: str, old: Any, new: Any, uri: str) -> None:
    raise LogMismatch(
        f"the log at {uri} belongs to another run: {path} is {_show(old)} there and {_show(new)} here; "
        "give this run another storage.uri"
    )


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
