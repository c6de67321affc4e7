"""Which steps made the bank: a log's steps are one line of numbers, but not every step continues from the one before.

A round continues from its *base*, an earlier step whose bank is served, or from 0, the base model itself. Rounds that
were rejected or given up stay in the log, and the path to any later step leads around them. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from zo_runtime.deltalog.documents import Head, Version
from zo_runtime.zo.method import Update


@dataclass(frozen=True, slots=True)
class Span:
    """The steps `first`..`last`, each made on the one before it, the first on the bank after step `base`."""

    first: int
    last: int
    base: int


Path = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The tree of a log's steps. `spans` hold every step once, in order; no two of them could be one."""

    spans: tuple[Span, ...]

    @classmethod
    def of(cls, versions: Iterable[Version], head: Head | None = None) -> Lineage:
        """From the versions of a log, oldest first, and the steps of its head that no version holds yet."""
        spans: list[Span] = []
        end = 0
        for version in versions:
            _add(spans, version.first_step, version.last_step, version.base)
            end = version.last_step
        if head is not None:
            _add(spans, end + 1, head.step, head.base)
        return cls(tuple(spans))

    def path(self, step: int) -> Path:
        """What makes the bank after `step`, oldest first; empty for step 0. Raise KeyError for a step that is not."""
        found: list[Span] = []
        while step:
            span = self._span(step)
            found.append(replace(span, last=step))
            step = span.base
        return tuple(reversed(found))

    def base(self, step: int) -> int:
        """The step on whose bank `step` was made. Raise KeyError."""
        span = self._span(step)
        return span.base if step == span.first else step - 1

    def _span(self, step: int) -> Span:
        index = bisect_left(self.spans, step, key=lambda span: span.last)
        if index == len(self.spans) or not self.spans[index].first <= step:
            raise KeyError(step)
        return self.spans[index]


def _add(spans: list[Span], first: int, last: int, base: int | None) -> None:
    if last < first:
        return
    if base is None and spans and spans[-1].last == first - 1:
        spans[-1] = replace(spans[-1], last=last)
    else:
        spans.append(Span(first, last, first - 1 if base is None else base))


def tip(version: Version) -> int:
    """The step whose bank a version is: its last one, or where it continues from if it has no step of its own."""
    return version.last_step if version.last_step >= version.first_step else continues_from(version)


def continues_from(version: Version) -> int:
    """The step on whose bank the first step of a version was made, or would be."""
    return version.first_step - 1 if version.base is None else version.base


def head_tip(head: Head, published_step: int) -> int:
    """The step whose bank the head is, where `published_step` is the last step of the newest version."""
    return head.step if head.base is None or head.step > published_step else head.base


def on_path(path: Path, step: int) -> bool:
    """Whether the bank after `step` is passed on the way."""
    return step == 0 or any(span.first <= step <= span.last for span in path)


def until(path: Path, step: int) -> Path:
    """The part of a path that leads to `step`, which is on it."""
    return tuple(replace(span, last=min(span.last, step)) for span in path if span.first <= step)


def remaining(path: Path, step: int) -> Path:
    """The rest of a path for a bank that is at `step`, which is on it."""
    rest = (span for span in path if span.last > step)
    return tuple(replace(span, first=step + 1, base=step) if span.first <= step else span for span in rest)


def follow(path: Sequence[Span], updates: Callable[[int, int], Iterable[Update]]) -> Iterator[Update]:
    """The updates along a path, in order. `updates(first, last)` reads the steps of one span, raw.

    The first update of a span names the step that it continues from, where that is not the step before.
    """
    for span in path:
        for update in updates(span.first, span.last):
            jumps = update.step == span.first and span.base != span.first - 1
            yield replace(update, after=span.base) if jumps else update
