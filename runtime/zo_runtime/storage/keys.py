"""What a key may look like: the same in every store, so that a log moves between them unchanged."""

from __future__ import annotations

# Names with this prefix are the local store's own bookkeeping.
HIDDEN = ".zo-"


def is_key(key: str) -> bool:
    """Tell whether `key` is a relative path of plain segments that no store keeps for itself."""
    segments = key.split("/")
    return "\0" not in key and not any(s in ("", ".", "..") or s.startswith(HIDDEN) for s in segments)


def require_key(key: str) -> None:
    """Raise ValueError for a key that no store takes; keys are made by the program, never by its user."""
    if not is_key(key):
        raise ValueError(f"{key!r} is no object key")


def require_condition(if_absent: bool, if_match: str | None) -> None:
    """Raise ValueError when both conditions of a write are given: together they can never hold."""
    if if_absent and if_match is not None:
        raise ValueError("if_absent and if_match exclude each other")
