"""The quarantine counts, cuts and stops."""

from __future__ import annotations

import json

import pytest

from zo_runtime.data.quarantine import Entry, Quarantine, Reason, Unfit
from zo_runtime.errors import InvalidData


def entry(line: int, reason: Reason = Reason.UNKNOWN_LABEL, **values: object) -> Entry:
    return Entry.of(f"train.tsv:{line}", Unfit(reason, f"detail {line}"), values)


def test_values_are_cut_to_200_characters() -> None:
    kept = entry(1, a="x" * 201, b=["y" * 500], c="z" * 200).record
    assert kept["a"] == "x" * 199 + "…"
    assert len(kept["b"]) == 200
    assert kept["c"] == "z" * 200


def test_is_written_as_json_lines() -> None:
    quarantine = Quarantine([entry(1, text="a\nb\ud800"), entry(2, Reason.TOO_LONG)])
    lines = quarantine.to_json_lines().decode("ascii").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"origin": "train.tsv:1", "reason": "unknown label", "detail": "detail 1", "record": {"text": "a\nb\ud800"}},
        {"origin": "train.tsv:2", "reason": "too long", "detail": "detail 2", "record": {}},
    ]


def test_the_most_common_reason_and_an_example_explain_a_stop() -> None:
    quarantine = Quarantine([entry(3, Reason.TOO_LONG), entry(4), entry(9), entry(12)])
    assert quarantine.counts == {"unknown label": 3, "too long": 1}
    with pytest.raises(InvalidData) as caught:
        quarantine.require_at_most(0.05, 16, "spec.data.train")
    assert str(caught.value) == (
        "spec.data.train: 4 of 20 records cannot be used (unknown label 3, too long 1), more than the share 0.05 "
        "that spec.data.quarantine.maxFraction allows; most often unknown label, for example train.tsv:4: detail 4; "
        "correct the records or the objective"
    )


SHARES = [(1, 19, 0.05, False), (1, 18, 0.05, True), (0, 0, 0, False)]


@pytest.mark.parametrize(("bad", "good", "share", "stops"), SHARES)
def test_exactly_the_share_is_allowed(bad: int, good: int, share: float, stops: bool) -> None:
    quarantine = Quarantine([entry(line) for line in range(bad)])
    if stops:
        with pytest.raises(InvalidData):
            quarantine.require_at_most(share, good, "here")
    else:
        quarantine.require_at_most(share, good, "here")
