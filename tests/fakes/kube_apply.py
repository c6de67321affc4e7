"""Merge patch and server-side apply, with the ownership of fields.

Ownership is kept as sets of paths in `metadata.managedFields`, in a notation of our own. Maps are merged field by
field; lists whose items have a known key are merged item by item; other lists are taken whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]

# The key of list items, by the name of the list, as in the real schemas.
LIST_KEYS = {
    "ownerReferences": "uid",
    "conditions": "type",
    "env": "name",
    "containers": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "name",
    "imagePullSecrets": "name",
}


class DuplicateKey(ValueError):
    """Two items of a keyed list have the same key: server-side apply refuses that."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def leaves(value: Any, path: Path = (), name: str = "") -> Iterator[Path]:
    """The paths of a value's leaves; an item of a keyed list goes by its key."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key), key)
    elif isinstance(value, list) and (field := _key_of(name, value)):
        keys = [str(item.get(field)) for item in value]
        if len(set(keys)) != len(keys):
            raise DuplicateKey(f"{'.'.join(path)}: duplicate entries for key {field}")
        for key, item in zip(keys, value, strict=True):
            yield from leaves(item, (*path, f"[{key}]"))
    else:
        yield path


def apply(
    live: dict[str, Any], wanted: dict[str, Any], manager: str, force: bool
) -> tuple[dict[str, Any], list[str]]:
    """Apply a configuration; return the new object and the conflicts, which count when not forced.

    What the manager applied earlier and no longer names goes, unless another manager owns it too.
    """
    managed = dict(live.get("metadata", {}).get("managedFields") or {})
    content = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
    now = {path for path in leaves(content) if not _identity(path)}
    before = {tuple(path) for path in managed.get(manager, ())}
    others = {tuple(path): name for name, paths in managed.items() if name != manager for path in paths}
    conflicts = [
        f'conflict with "{others[path]}": .{".".join(path)}'
        for path in sorted(now)
        if path in others and _get(live, path) != _get(content, path)
    ]
    if conflicts and not force:
        return live, conflicts
    result = _merge(live, content, "")
    kept = now | set(others)
    # In order, so that an item's key is the last of its fields to go: it is what the others are found by.
    for path in sorted(before - kept, key=_key_last):
        if not any(other[: len(path)] == path for other in kept):
            _remove(result, path)
    for name, paths in list(managed.items()):
        if name != manager:
            taken = [
                path for path in paths if tuple(path) in now and _get(live, tuple(path)) != _get(content, tuple(path))
            ]
            managed[name] = [path for path in paths if path not in taken]
    managed[manager] = [list(path) for path in sorted(now)]
    result.setdefault("metadata", {})["managedFields"] = {name: paths for name, paths in managed.items() if paths}
    return result, []


def disown(live: dict[str, Any], changed: dict[str, Any], manager: str) -> dict[str, Any]:
    """After an update that is no apply: fields whose value it changed belong to its manager now."""
    managed = dict(live.get("metadata", {}).get("managedFields") or {})
    moved = {
        path
        for path in leaves({key: value for key, value in changed.items() if key not in ("apiVersion", "kind")})
        if path[:2] != ("metadata", "managedFields")
        and not _identity(path)
        and _get(live, path) != _get(changed, path)
    }
    updater = f"{manager}/update"
    kept = {
        name: [path for path in paths if tuple(path) not in moved]
        for name, paths in managed.items()
        if name != updater
    }
    own = {tuple(path) for path in managed.get(updater, ())} | moved
    kept[updater] = [list(path) for path in sorted(own)]
    result = copy.deepcopy(changed)
    result.setdefault("metadata", {})["managedFields"] = {name: paths for name, paths in kept.items() if paths}
    return result


def _key_last(path: Path) -> bool:
    """Whether the leaf is the key of an item of a keyed list."""
    return len(path) > 2 and path[-2].startswith("[") and path[-1] == LIST_KEYS.get(path[-3])


def _identity(path: Path) -> bool:
    return path[:1] == ("metadata",) and path[1:2] in (("name",), ("namespace",), ("uid",), ("resourceVersion",))


def _key_of(name: str, items: list[Any]) -> str | None:
    field = LIST_KEYS.get(name)
    return field if field and items and all(isinstance(item, dict) for item in items) else None


def _merge(live: Any, wanted: Any, name: str) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        merged = dict(live)
        for key, value in wanted.items():
            merged[key] = _merge(live.get(key), value, key)
        return merged
    if (
        isinstance(live, list)
        and isinstance(wanted, list)
        and (field := _key_of(name, wanted))
        and _key_of(name, live)
    ):
        merged_items = {str(item[field]): item for item in live}
        for item in wanted:
            merged_items[str(item[field])] = _merge(merged_items.get(str(item[field])), item, "")
        return list(merged_items.values())
    return copy.deepcopy(wanted)


def _step(value: Any, name: str, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list):
        field = LIST_KEYS.get(name, "")
        return next((item for item in value if f"[{item.get(field)}]" == part), None)
    return None


def _get(value: Any, path: Path) -> Any:
    name = ""
    for part in path:
        value = _step(value, name, part)
        name = part
    return value


def _remove(value: Any, path: Path) -> None:
    """Remove a leaf, and the maps and items that it leaves empty."""
    parents: list[tuple[Any, str, str]] = []
    name = ""
    for part in path:
        parents.append((value, name, part))
        value, name = _step(value, name, part), part
    for holder, holder_name, part in reversed(parents):
        if isinstance(holder, dict):
            holder.pop(part, None)
        elif isinstance(holder, list):
            field = LIST_KEYS.get(holder_name, "")
            # An item without its key has lost its last field before.
            holder[:] = [item for item in holder if item and f"[{item.get(field)}]" != part]
        if holder:
            return
