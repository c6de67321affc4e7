"""One published version and everything below it, as its hash pins them: the mutable head is not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zo_runtime.deltalog.chain import Link, link_problems, load_link, load_run
from zo_runtime.deltalog.documents import Version
from zo_runtime.deltalog.fetch import in_order, must_exist
from zo_runtime.deltalog.lineage import Lineage, on_path, tip
from zo_runtime.deltalog.names import version_key
from zo_runtime.deltalog.stream import stream_segments
from zo_runtime.errors import InvalidSpec, LogCorrupt, LogMismatch
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.zo.method import Update


class PinnedVersion:
    """Version `number` whose object has the hash `sha256`, with the chain down to run.json verified.

    `known` are links from before, which are not fetched again: the hashes of the chain hold them to the rest.
    Raise `InvalidSpec` where there is no log, `LogMismatch` if the log there has another version of that number,
    `LogCorrupt`, `StorageError`.
    """

    def __init__(self, store: ObjectStore, number: int, sha256: str, known: Sequence[Link] = ()):
        self.store = store
        self.run, self.run_sha256 = load_run(store)
        links = list(known[:number])
        links += in_order(lambda n: load_link(store, n), range(len(links) + 1, number + 1))
        if links[-1].sha256 != sha256:
            raise LogMismatch(
                f"{version_key(number)} of {store.uri} has the SHA-256 {links[-1].sha256}, not {sha256}: "
                "the log is of another run or was replaced; set the target anew"
            )
        for problem in link_problems(links, self.run_sha256):
            raise LogCorrupt(problem)
        self.links = tuple(links)

    @property
    def versions(self) -> tuple[Version, ...]:
        """This version and all before it, oldest first."""
        return tuple(link.version for link in self.links)

    @property
    def lineage(self) -> Lineage:
        """Which step continues from which, up to this version."""
        return Lineage.of(self.versions)

    def require_step(self, step: int | None) -> int:
        """The step, by default the last one. Raise `InvalidSpec` for one that the version does not stand on."""
        version = self.links[-1].version
        last = tip(version)
        path = self.lineage.path(last)
        if step is not None and not on_path(path, step):
            # Rounds that the version does not continue from are no part of it.
            spans = ", ".join(f"{0 if span is path[0] else span.first} to {span.last}" for span in path) or "0 to 0"
            raise InvalidSpec(
                f"version {version.number} of {self.store.uri} has no step {step}; it has the steps {spans}"
            )
        return last if step is None else step

    def updates(self, first: int, last: int) -> Iterator[Update]:
        """What replay needs of the steps `first`..`last`, each segment verified by its hash before it is read."""
        segments = [ref for version in self.versions for ref in version.segments]
        with must_exist():
            for part in stream_segments(self.store, segments, self.run.method_fields.directions, first, last):
                yield from part.updates()
