"""`zo verify`: every object of a log against every other, and the bank by replay. Finds all problems, not the first.

Checked: each JSON object's own checksum and canonical form; the chain of versions down to run.json; ranges without
gap or overlap; the rounds' bases and data lists; each segment's and metrics object's size and hash; shape, step and
direction numbers, finite values and exact coefficients of each row; the digests of versions and head against a real
replay; the report's checksum. Objects that nothing names are noted, not held against the log: a crash may leave some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import TypeVar

from zo_runtime.deltalog.branches import Branches
from zo_runtime.deltalog.chain import History, chain_problems, link_problems, load_latest, load_link, load_run
from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.documents import DataList, Head, Latest, ObjectRef, RunInfo
from zo_runtime.deltalog.fetch import fetch, in_order, must_exist
from zo_runtime.deltalog.lineage import continues_from, tip
from zo_runtime.deltalog.names import LATEST, QUARANTINE, REPORT, RUN, data_list_key, version_key
from zo_runtime.deltalog.parquet import Segment, decode_metrics, decode_segment
from zo_runtime.deltalog.quarantine_file import get_quarantine
from zo_runtime.deltalog.report_page import require_sound_report
from zo_runtime.errors import LogCorrupt
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.zo.bank import Bank

T = TypeVar("T")
Progress = Callable[[int, int], None]
_ATTEMPTS = 5


@dataclass(slots=True)
class VerifyReport:
    """What `verify` found. `problems` and `notes` are one sentence each, `bytes` is the size of all objects."""

    uri: str
    steps: int = 0
    versions: int = 0
    objects: int = 0
    bytes: int = 0
    digest: str | None = None
    """Digest of the replayed bank at the last step; none if the replay could not get there."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raise `LogCorrupt` with the first problem and the number of the others."""
        if self.problems:
            more = len(self.problems) - 1
            raise LogCorrupt(self.problems[0] + (f" (and {more} more)" if more else ""))


def verify(store: ObjectStore, on_progress: Progress | None = None, threads: int = 1) -> VerifyReport:
    """Check the whole log. `on_progress(step, steps)` is called as the replay goes on; `threads` share its work.

    A log that its run is still writing is checked as it stood at one moment. Raise `InvalidSpec` where there is
    no log, `StorageError`.
    """
    for _ in range(_ATTEMPTS):
        check = _Verification(store, on_progress, threads)
        check.run()
        # A live writer replaces its last segment as it goes: what was missing may only have moved.
        if not check.report.problems or not check.head_moved():
            break
    return check.report


class _Verification:
    """One pass over a log."""

    def __init__(self, store: ObjectStore, on_progress: Progress | None, threads: int):
        self.report = VerifyReport(store.uri)
        self._store, self._on_progress, self._threads = store, on_progress, threads
        self._run_sha256: str | None = None
        self._head: Head | None = None
        self._data_lists: set[str] = set()

    def run(self) -> None:
        """Check everything that can be reached."""
        loaded = self._attempt(lambda: load_run(self._store))
        if loaded is not None:
            run, self._run_sha256 = loaded
            latest = self._attempt(lambda: load_latest(self._store, loaded[1]))
            if latest is not None:
                self._head = latest.head
                self._check_below(run, latest)

    def head_moved(self) -> bool:
        """Whether the log went on while it was checked."""
        if self._run_sha256 is None or self._head is None:
            return False
        return load_latest(self._store, self._run_sha256).head != self._head

    def _check_below(self, run: RunInfo, latest: Latest) -> None:
        """Check what run.json and the head stand on. Broken versions hide their segments, not those of others."""
        self.report.steps, self.report.versions = latest.head.step, latest.version or 0
        links = [self._attempt(partial(load_link, self._store, n)) for n in range(1, self.report.versions + 1)]
        readable = History(latest, tuple(link for link in links if link is not None))
        if len(readable.links) == len(links):
            self.report.problems += chain_problems(readable)
        else:
            unbroken = [link for link in takewhile(lambda link: link is not None, links) if link is not None]
            self.report.problems += link_problems(unbroken, latest.run)
        self._check_data_lists(readable)
        self._check_segments(run, readable)
        self.report.problems += [p for p in in_order(self._metrics_problem, readable.metrics) if p is not None]
        self._check_objects(readable)

    def _check_segments(self, run: RunInfo, history: History) -> None:
        """Check every segment, and replay the bank as far as each segment follows one that is sound."""
        steps = history.latest.head.step
        digests = [(tip(v), version_key(v.number), v.digest) for v in history.versions]
        digests.append((history.tip, LATEST, history.latest.head.digest))
        bases = {v.first_step: continues_from(v) for v in history.versions}
        if history.latest.head.base is not None:
            bases[history.published_step + 1] = history.latest.head.base
        replay = Branches(Bank(run.layout(), run.method()), bases, self._threads)
        load = partial(self._load_segment, run.method_fields.directions)
        self._compare(replay.bank, digests, history.tip)
        for ref, segment in zip(history.segments, in_order(load, history.segments), strict=True):
            if isinstance(segment, LogCorrupt):
                self.report.problems.append(str(segment))
            elif replay.apply(ref.first, segment.updates()):
                self._compare(replay.bank, digests, history.tip)
                if self._on_progress is not None:
                    self._on_progress(replay.bank.step, steps)
        if self.report.digest is None:
            self.report.notes.append(f"the replay ends at step {replay.bank.step}: no later digest could be compared")

    def _compare(self, bank: Bank, digests: list[tuple[int, str, str]], last: int) -> None:
        if bank.step == last:
            self.report.digest = bank.digest()
        for _, key, recorded in (d for d in digests if d[0] == bank.step):
            if (found := bank.digest()) != recorded:
                self.report.problems.append(
                    f"{key} records the digest {recorded} at step {bank.step}, but replay gives {found}"
                )

    def _check_data_lists(self, history: History) -> None:
        """Check what each round learned from, and that it is of the place where the round stands."""
        firsts = {v.round: v.first_step for v in reversed(history.versions)}
        lists = {v.round: v.data_list for v in history.versions}
        head = history.latest.head
        firsts.setdefault(head.round, head.step + 1)
        lists.setdefault(head.round, head.data_list)
        for number, expected in lists.items():
            if number is not None and expected is not None:
                data: DataList | None = self._attempt(partial(load_data_list, self._store, number, expected))
                self._data_lists.add(data_list_key(number))
                if data is not None and data.first_step != firsts[number]:
                    self.report.problems.append(
                        f"{data_list_key(number)} is of a round that begins with step {data.first_step}, and round "
                        f"{number} begins with step {firsts[number]}"
                    )

    def _load_segment(self, directions: int, ref: ObjectRef) -> Segment | LogCorrupt:
        try:
            with must_exist():
                return decode_segment(fetch(self._store, ref), ref, directions)
        except LogCorrupt as problem:
            return problem

    def _metrics_problem(self, ref: ObjectRef) -> str | None:
        try:
            with must_exist():
                decode_metrics(fetch(self._store, ref), ref)
        except LogCorrupt as problem:
            return str(problem)
        return None

    def _check_objects(self, history: History) -> None:
        """Count the objects, note those that nothing names, and check those that prove themselves."""
        named = {RUN, LATEST, REPORT, *(version_key(n) for n in range(1, self.report.versions + 1))}
        named |= {ref.key for ref in (*history.segments, *history.metrics)} | self._data_lists
        for info in self._store.list():
            self.report.objects += 1
            self.report.bytes += info.size
            if info.key.startswith(QUARANTINE):
                self._attempt(partial(get_quarantine, self._store, info.key))
            elif info.key not in named:
                self.report.notes.append(f"{info.key} is not named by the log; a crash may have left it")
            elif info.key == REPORT:
                self._attempt(lambda: require_sound_report(self._store))

    def _attempt(self, work: Callable[[], T]) -> T | None:
        """The result of `work`, or None with its problem on record."""
        try:
            return work()
        except LogCorrupt as problem:
            self.report.problems.append(str(problem))
        return None
