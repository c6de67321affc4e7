"""What must hold between the rounds of a log: bases that exist, numbers that rise, one verdict at the end. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from zo_runtime.deltalog.documents import Head, Version
from zo_runtime.deltalog.names import LATEST, version_key


def round_problems(versions: Sequence[Version]) -> list[str]:
    """Every break between the rounds of the first versions of a log, a sentence each."""
    problems: list[str] = []
    ends = {0}
    before: Version | None = None
    for version in versions:
        key = version_key(version.number)
        problems += _base_problems(key, version.base, version.first_step, ends)
        problems += _number_problems(key, version.round, version.data_list, before)
        ends.add(version.last_step)
        before = version
    return problems


def head_problems(head: Head, versions: Sequence[Version]) -> list[str]:
    """The same for what comes after the last version."""
    before = versions[-1] if versions else None
    ends = {0, *(version.last_step for version in versions)}
    problems = _base_problems(LATEST, head.base, max(ends) + 1, ends)
    steps = head.step > max(ends)
    return problems + _number_problems(LATEST, head.round, head.data_list, before, goes_on=steps)


def may_be_served(version: Version) -> bool:
    """Whether nothing in the log speaks against serving a version: of a round only the last one, if it was accepted,
    of a run without rounds any that was not rejected."""
    return version.round is None if version.verdict is None else version.verdict.accepted


def _base_problems(key: str, base: int | None, first: int, ends: set[int]) -> list[str]:
    if base is None or (base in ends and base < first - 1):
        return []
    return [f"{key} continues step {first} from step {base}, where no earlier version ends"]


def _number_problems(
    key: str, number: int | None, data_list: str | None, before: Version | None, goes_on: bool = True
) -> list[str]:
    """`goes_on`: whether there is something after `before` that the round made."""
    if (number is None) != (data_list is None):
        return [f"{key} does not name what its round learns from"]
    last = None if before is None else before.round
    if last is None:
        return []
    if number is None or number < last:
        return [f"{key} is of round {number} after round {last}"]
    if before is None or number > last:
        return []
    if data_list != before.data_list:
        return [f"{key} names other data of round {last} than the version before it"]
    return [f"{key} goes on with round {last} after its verdict"] if goes_on and before.verdict is not None else []
