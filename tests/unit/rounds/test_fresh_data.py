"""What is fresh: over any history of a source and of rounds, no record is learned twice and none skipped silently."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zo_runtime.config.data import Source
from zo_runtime.data.formats import Read, Record
from zo_runtime.data.listing import Gone, Listed
from zo_runtime.deltalog.documents import DataEntry, DataList
from zo_runtime.errors import InvalidData
from zo_runtime.rounds.fresh import Look, consumed, take
from zo_runtime.rounds.look import look, parser, read_entries

PARSE = parser(Source(uri="s"), "spec.data.train")
START = datetime(2026, 1, 2, tzinfo=UTC)


class FakeSource:
    """Objects in memory. Every write gives a new etag, and times that jump about: nothing may rest on them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.times: dict[str, datetime] = {}
        self.reads: list[str] = []
        self._writes = 0

    def put(self, name: str, data: bytes, age: int = 0) -> None:
        self._writes += 1
        self.objects[name], self.etags[name] = data, f"e{self._writes}"
        self.times[name] = START + timedelta(seconds=age)

    def list(self) -> list[Listed]:
        return [Listed(n, len(d), self.etags[n], self.times[n]) for n, d in self.objects.items()]

    def read(self, name: str) -> tuple[bytes, str]:
        self.reads.append(name)
        if name not in self.objects:
            raise Gone(name)
        return self.objects[name], self.etags[name]


def flaw_of(read: Read) -> str | None:
    return None if isinstance(read, Record) else read.reason


def half_of(data: bytes) -> bytes:
    """What stands after the last end of a line."""
    return data.rpartition(b"\n")[2]


class DataMachine(RuleBasedStateMachine):
    """Producers write, rewrite, append and delete as they like; rounds take what is fresh and end well or badly."""

    def __init__(self) -> None:
        super().__init__()
        self.source = FakeSource()
        self.lists: list[DataList] = []
        self.learned: Counter[int] = Counter()
        self.graves: dict[str, bytes] = {}
        self.ids = 0

    def lines(self, count: int) -> bytes:
        made = []
        for _ in range(count):
            self.ids += 1
            made.append(json.dumps({"id": self.ids}) + "\n")
        return "".join(made).encode()

    names = st.sampled_from([f"{c}.jsonl" for c in "abcdef"])
    ages = st.integers(-500, 500)

    @rule(name=names, count=st.integers(0, 5), age=ages)
    def write(self, name: str, count: int, age: int) -> None:
        """A new object, or a rewritten one."""
        self.source.put(name, self.lines(count), age)

    @precondition(lambda self: self.source.objects)
    @rule(data=st.data(), count=st.integers(1, 4), age=ages)
    def append(self, data: st.DataObject, count: int, age: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.source.objects)))
        self.source.put(name, self.source.objects[name] + self.lines(count), age)

    @precondition(lambda self: self.source.objects)
    @rule(data=st.data(), size=st.integers(1, 7))
    def append_half_a_line(self, data: st.DataObject, size: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.source.objects)))
        if not half_of(self.source.objects[name]):
            self.source.put(name, self.source.objects[name] + b'{"id": '[:size])

    @precondition(lambda self: any(map(half_of, self.source.objects.values())))
    @rule(data=st.data())
    def complete_the_line(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, d in self.source.objects.items() if half_of(d))))
        half = half_of(self.source.objects[name])
        self.source.put(name, self.source.objects[name] + self.lines(1)[len(half) :])

    @precondition(lambda self: self.source.objects)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.source.objects)))
        self.graves[name] = self.source.objects.pop(name)

    @precondition(lambda self: self.graves)
    @rule(data=st.data(), age=ages)
    def bring_back(self, data: st.DataObject, age: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.graves)))
        self.source.put(name, self.graves[name], age)

    @precondition(lambda self: self.source.objects)
    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.source.objects)))
        self.source.put(name, self.source.objects[name], 7)

    @rule(most=st.integers(1, 9), ends_well=st.booleans())
    def one_round(self, most: int, ends_well: bool) -> None:
        self.round(most, ends_well)

    def round(self, most: int, ends_well: bool = True) -> Look:
        found = self.look()
        entries = take(found.parts, most)
        reads = list(read_entries(self.source, entries, PARSE, "spec.data.train"))
        assert len(reads) == sum(e.last - e.first + 1 for e in entries) <= most
        assert len(reads) == most or len(reads) == sum(p.records for p in found.parts), "as many as there are"
        assert list(entries) == sorted(entries, key=lambda e: e.name)
        if ends_well:
            self.learned.update(r.values["id"] for r in reads if isinstance(r, Record))
            self.lists.append(
                DataList(round=len(self.lists) + 1, first_step=1, base=None, served=None, train=entries)
            )
        return found

    def look(self) -> Look:
        return look(self.source, consumed(self.lists), PARSE, flaw_of)

    @invariant()
    def nothing_is_learned_twice(self) -> None:
        assert not [number for number, times in self.learned.items() if times > 1]

    def teardown(self) -> None:
        """The producers rest: after enough rounds everything is learned, or the look says why not."""
        while self.round(4).parts:
            pass
        last = self.look()
        assert last.parts == ()
        for name, data in self.source.objects.items():
            here = {read.values["id"] for read in PARSE(name, data) if isinstance(read, Record)}
            missing = here - self.learned.keys()
            assert not missing or name in last.changed, f"{missing} of {name} are skipped silently"
        known = consumed(self.lists)
        assert last.gone == len(known.keys() - self.source.objects.keys())
        self.source.reads.clear()
        self.look()
        assert not {n for n in self.source.reads if n in known and known[n].etag == self.source.etags[n]}, (
            "what is as it was is not read again"
        )


TestDataMachine = DataMachine.TestCase
TestDataMachine.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def entries_of(source: FakeSource, most: int = 100) -> tuple[DataEntry, ...]:
    return take(look(source, {}, PARSE, flaw_of).parts, most)


def test_the_oldest_objects_come_first_and_the_last_is_cut() -> None:
    source = FakeSource()
    for name, count, age in (("new", 3, 50), ("old", 4, 1), ("middle", 5, 20)):
        source.put(f"{name}.jsonl", b"".join(b'{"id": %d}\n' % i for i in range(count)), age)
    assert [(e.name, e.first, e.last, e.records) for e in entries_of(source, 6)] == [
        ("middle.jsonl", 1, 2, 5),
        ("old.jsonl", 1, 4, 4),
    ]


def test_a_look_says_what_it_saw() -> None:
    source = FakeSource()
    source.put("a.jsonl", b'{"id": 1}\nnonsense\n{"id": 2}\n', 30)
    source.put("b.jsonl", b'{"id": 3}\n', 10)
    source.put("empty.jsonl", b"", 0)
    data = DataList(round=1, first_step=1, base=None, served=None, train=entries_of(source))
    found = look(source, {}, PARSE, flaw_of)
    assert found.flaws() == {"bad JSON": 1}
    fresh = found.summary()
    assert (fresh.objects, fresh.records, fresh.quarantined, fresh.bytes) == (2, 3, 1, 39)
    assert fresh.oldest == START + timedelta(seconds=10)
    source.put("a.jsonl", source.objects["a.jsonl"] + b'{"id": 4}\n', 40)
    source.put("b.jsonl", b'{"id": 9}\n', 50)
    fresh = look(source, consumed([data]), PARSE, flaw_of).summary()
    assert (fresh.objects, fresh.records, fresh.changed, fresh.changed_count) == (1, 1, ("b.jsonl",), 1)
    del source.objects["b.jsonl"]
    assert look(source, consumed([data]), PARSE, flaw_of).summary().gone_count == 1


def test_an_object_that_a_round_needs_is_named_when_it_is_gone_or_changed_but_may_grow() -> None:
    source = FakeSource()
    source.put("a.jsonl", b'{"id": 1}\n')
    entries = entries_of(source)
    source.put("a.jsonl", b'{"id": 1}\n{"id": 2}\n')
    assert [r.values for r in read_entries(source, entries, PARSE, "spec.data.train")] == [{"id": 1}]
    source.put("a.jsonl", b'{"id": 7}\n')
    with pytest.raises(InvalidData, match=r"spec.data.train.uri: a.jsonl, which .* has other content than when"):
        list(read_entries(source, entries, PARSE, "spec.data.train"))
    del source.objects["a.jsonl"]
    with pytest.raises(InvalidData, match=r"spec.data.train.uri: a.jsonl, which .* is gone; bring it back"):
        list(read_entries(source, entries, PARSE, "spec.data.train"))


def test_an_entry_names_the_bytes_that_were_read() -> None:
    source = FakeSource()
    source.put("a.jsonl", b'{"id": 1}\n')
    (entry,) = entries_of(source)
    assert (entry.size, entry.sha256, entry.etag) == (10, hashlib.sha256(b'{"id": 1}\n').hexdigest(), "e1")


@pytest.mark.parametrize(
    ("name", "before", "after", "fresh"),
    [
        ("a.jsonl", b'{"id": 1}\n{"id', b'{"id": 1}\n{"id": 2}\n', [2]),
        ("a.jsonl", b'{"id": 1}\n{"id": 2}', b'{"id": 1}\n{"id": 2}\n{"id": 3}\n', [3]),
        ("a.csv", b'id\n1\n"2', b'id\n1\n"2"\n3\n', ["2", "3"]),
        ("a.csv", b'id\n1\n"2\n3\n4\n', b'id\n1\n"2\n3\n4\n"\n5\n', ["2\n3\n4\n", "5"]),
        ("a.tsv", b"id\tx\n1\ta\n2\tb", b"id\tx\n1\ta\n2\tbc\n", ["2"]),
    ],
)
def test_a_last_record_that_was_cut_short_is_fresh_when_it_is_whole(
    name: str, before: bytes, after: bytes, fresh: list[object]
) -> None:
    source = FakeSource()
    source.put(name, before)
    data = DataList(round=1, first_step=1, base=None, served=None, train=entries_of(source))
    source.put(name, after)
    found = look(source, consumed([data]), PARSE, flaw_of)
    reads = list(read_entries(source, take(found.parts, 9), PARSE, "spec.data.train"))
    assert [r.values["id"] for r in reads if isinstance(r, Record)] == fresh
    assert found.changed == ()
