"""The chain of versions: loading it, and checking that it accounts for every step once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zo_runtime.deltalog.checked_json import decode, sha256
from zo_runtime.deltalog.documents import Latest, ObjectRef, RunInfo, Version
from zo_runtime.deltalog.fetch import in_order
from zo_runtime.deltalog.lineage import Lineage, head_tip
from zo_runtime.deltalog.names import LATEST, RUN, SEGMENTS, VERSIONS, version_key
from zo_runtime.deltalog.round_chain import head_problems, round_problems
from zo_runtime.errors import InvalidSpec, LogCorrupt
from zo_runtime.storage.protocol import NotFound, ObjectStore


@dataclass(frozen=True, slots=True)
class Link:
    """A version with the hash and the size in bytes of the object that holds it."""

    version: Version
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class History:
    """One consistent state of a log: the head, all versions before it, and what covers every step up to it."""

    latest: Latest
    links: tuple[Link, ...]

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every published version, oldest first."""
        return tuple(link.version for link in self.links)

    @property
    def segments(self) -> tuple[ObjectRef, ...]:
        """The segments of all steps 1..head, in order."""
        published = [ref for version in self.versions for ref in version.segments]
        return (*published, *self.latest.head.segments)

    @property
    def metrics(self) -> tuple[ObjectRef, ...]:
        """The metrics of all steps 1..head, in order."""
        published = [ref for version in self.versions for ref in version.metrics]
        return (*published, *self.latest.head.metrics)

    @property
    def lineage(self) -> Lineage:
        """Which step continues from which."""
        return Lineage.of(self.versions, self.latest.head)

    @property
    def tip(self) -> int:
        """The step whose bank the head is."""
        return head_tip(self.latest.head, self.published_step)

    @property
    def published_step(self) -> int:
        """Last step of the newest version; 0 before the first."""
        return self.links[-1].version.last_step if self.links else 0


def load_run(store: ObjectStore) -> tuple[RunInfo, str]:
    """run.json and its hash. Raise `InvalidSpec` where there is no log."""
    try:
        data, _ = store.get(RUN)
    except NotFound:
        require_nothing_written(store, RUN)
        raise InvalidSpec(f"there is no delta log at {store.uri}; check the URI") from None
    return decode(data, RunInfo, RUN), sha256(data)


def load_history(store: ObjectStore, latest: Latest, known: Sequence[Link] = ()) -> History:
    """The whole chain below a head, verified. `known` are links from before, which need no second look."""
    count = latest.version or 0
    links = list(known[:count])
    links += in_order(lambda n: load_link(store, n), range(len(links) + 1, count + 1))
    history = History(latest, tuple(links))
    for problem in chain_problems(history):
        raise LogCorrupt(problem)
    return history


def load_latest(store: ObjectStore, run_sha256: str) -> Latest:
    """LATEST.json. Raise `LogCorrupt` where it is missing but must be there, `InvalidSpec` before the first step."""
    try:
        latest = decode(store.get(LATEST)[0], Latest, LATEST)
    except NotFound:
        require_nothing_written(store, LATEST)
        raise InvalidSpec(f"the delta log at {store.uri} has no step yet; wait until its run has begun") from None
    if latest.run != run_sha256:
        raise LogCorrupt(f"{LATEST} belongs to another {RUN}; restore both from one copy")
    return latest


def require_nothing_written(store: ObjectStore, missing: str) -> None:
    """Raise `LogCorrupt` if there are steps or versions, which no log has before run.json and LATEST.json."""
    for folder in (SEGMENTS, VERSIONS):
        if (found := next(iter(store.list(folder)), None)) is not None:
            raise LogCorrupt(f"{missing} of {store.uri} is missing but {found.key} is there; restore it from a copy")


def chain_problems(history: History) -> list[str]:
    """Every break of the chain and every gap or overlap of the ranges, a sentence each."""
    latest, links = history.latest, history.links
    problems = link_problems(links, latest.run)
    if latest.version_sha256 != (links[-1].sha256 if links else None):
        problems.append(f"{LATEST} does not fit the newest version: its hash of that one differs")
    problems += head_problems(latest.head, history.versions)
    problems += _range_problems(LATEST, latest.head.segments, history.published_step, latest.head.step)
    problems += _range_problems(LATEST, latest.head.metrics, history.published_step, latest.head.step)
    return problems


def link_problems(links: Sequence[Link], run_sha256: str) -> list[str]:
    """The same for the first versions of a log, without the head."""
    problems = round_problems([link.version for link in links])
    previous, step = None, 0
    for number, link in enumerate(links, 1):
        version, key = link.version, version_key(number)
        if version.number != number:
            problems.append(f"{key} says that it is version {version.number}")
        if version.run != run_sha256:
            problems.append(f"{key} belongs to another {RUN}")
        if version.previous != previous:
            problems.append(f"{key} does not follow from the version before it: its hash of that one differs")
        if version.first_step != step + 1 or version.last_step < step:
            problems.append(f"{key} covers the steps {version.first_step}..{version.last_step} after step {step}")
        problems += _range_problems(key, version.segments, step, version.last_step)
        problems += _range_problems(key, version.metrics, step, version.last_step)
        previous, step = link.sha256, version.last_step
    return problems


def _range_problems(key: str, refs: tuple[ObjectRef, ...], step: int, last: int) -> list[str]:
    problems = []
    for ref in refs:
        if ref.first != step + 1 or ref.last < ref.first:
            problems.append(f"{key} lists {ref.key} for the steps {ref.first}..{ref.last} after step {step}")
        step = ref.last
    if step != last:
        problems.append(f"{key} lists objects up to step {step}, not {last}")
    return problems


def load_link(store: ObjectStore, number: int) -> Link:
    """One version, verified by itself. Raise `LogCorrupt`."""
    key = version_key(number)
    try:
        data, _ = store.get(key)
    except NotFound:
        raise LogCorrupt(f"{key} is missing; restore it from a copy") from None
    return Link(decode(data, Version, key), sha256(data), len(data))
