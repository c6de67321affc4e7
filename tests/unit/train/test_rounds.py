"""Rounds of the toy model: each learns from fresh data, continues from what is served, and goes on after a stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.toy import ToyModel
from fakes.toy_rounds import deliver, log_of, order, source, write_round
from zo_runtime.adapter.replay import replay
from zo_runtime.config.load import load_document
from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.documents import DataList
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import Diverged, Interrupted, InvalidData, InvalidSpec, LogMismatch
from zo_runtime.job import Job
from zo_runtime.progress import Progress, Result
from zo_runtime.rounds.contract import Verdict
from zo_runtime.rounds.join import await_data
from zo_runtime.rounds.order import bank_updates
from zo_runtime.train import Conclude
from zo_runtime.zo.bank import Bank

REJECTED = Verdict(accepted=False, reason="NoImprovement", message="it is no better")


class RejectingJob(Job):
    """A gate that lets nothing through."""

    def _gate(self, *given: Any) -> Conclude:
        super()._gate(*given)
        return lambda judged, step: REJECTED


def run(
    folder: Path,
    ordered: dict[str, Any] | None,
    stop_after: float = math.inf,
    job: type[Job] = Job,
    document: dict[str, Any] | None = None,
) -> tuple[Result, Progress]:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > stop_after

    parsed, _ = load_document(write_round(folder, document or source(folder), ordered))
    made = job(parsed, ToyModel(), stop)
    return made.run(), made._tracker.snapshot()


def data_of(folder: Path, number: int) -> DataList:
    log = log_of(folder)
    version = next(v for v in log.versions() if v.round == number)
    assert version.data_list is not None
    return load_data_list(log.store, number, version.data_list)


def taken(folder: Path, number: int) -> list[tuple[str, int, int]]:
    return [(Path(e.name).name, e.first, e.last) for e in data_of(folder, number).train]


def three_rounds(folder: Path, go: Callable[[Path, dict[str, Any], type[Job]], Result]) -> list[Result]:
    """The second round is rejected, so that the third continues from the first, too."""
    deliver(folder, "a.jsonl", 200, seed=1)
    results = [go(folder, order(folder, 1), Job)]
    deliver(folder, "b.jsonl", 100, seed=2)
    served = results[0].version
    results.append(go(folder, order(folder, 2, served, served), RejectingJob))
    deliver(folder, "b.jsonl", 60, seed=3, mode="a")
    deliver(folder, "late-0.jsonl", 50, seed=4)
    results.append(go(folder, order(folder, 3, served, served), Job))
    return results


def test_three_rounds_learn_from_what_is_fresh_each(tmp_path: Path) -> None:
    results = three_rounds(tmp_path, lambda folder, ordered, job: run(folder, ordered, job=job)[0])
    assert [(r.round, r.reason, r.steps, r.version) for r in results] == [
        (1, "Completed", 20, 3), (2, "Rejected", 20, 6), (3, "Completed", 20, 9),
    ]  # fmt: skip
    assert [r.verdict.accepted for r in results if r.verdict] == [True, False, True]
    assert results[0].verdict is not None
    assert results[0].verdict.reason == "Ungated"
    assert taken(tmp_path, 1) == [("a.jsonl", 1, 200)]
    assert taken(tmp_path, 2) == [("b.jsonl", 1, 100)]
    assert taken(tmp_path, 3) == [("b.jsonl", 101, 160), ("late-0.jsonl", 1, 50)]
    log = log_of(tmp_path)
    assert [(v.first_step, v.last_step, v.base) for v in log.versions()] == [
        (1, 0, None), (1, 10, None), (11, 20, None),
        (21, 20, None), (21, 30, None), (31, 40, None),
        (41, 40, 20), (41, 50, 20), (51, 60, None),
    ]  # fmt: skip
    report = verify(log.store)
    assert (report.problems, report.notes) == ([], [])
    for result in results:
        assert replay(log, version=result.version, threads=1).digest() == result.digest
    assert log.version(7).digest == results[0].digest, "the third round starts where the first ended"
    assert results[2].accuracy_after is not None
    assert results[2].accuracy_after >= 0.8


@pytest.mark.parametrize("after", [0, 1, 7, 10, 13, 19])
def test_a_stop_in_any_round_changes_nothing(tmp_path: Path, after: int) -> None:
    whole, parts = tmp_path / "same", tmp_path / "elsewhere" / "same"
    whole.mkdir()
    parts.mkdir(parents=True)

    def stopped(folder: Path, ordered: dict[str, Any], job: type[Job]) -> Result:
        with pytest.raises(Interrupted, match=f"stopped after step {after};"):
            run(folder, ordered, stop_after=after, job=job)
        deliver(folder, f"meanwhile-{ordered['number']}.jsonl", 20, seed=9)
        result = run(folder, ordered, job=job)[0]
        (folder / "incoming" / f"meanwhile-{ordered['number']}.jsonl").unlink()
        return result

    one = three_rounds(whole, lambda folder, ordered, job: run(folder, ordered, job=job)[0])
    other = three_rounds(parts, stopped)
    assert [r.digest for r in one] == [r.digest for r in other]
    assert [(r.accuracy_before, r.accuracy_after) for r in one] == [
        (r.accuracy_before, r.accuracy_after) for r in other
    ]
    assert verify(log_of(parts).store).problems == []


def test_progress_counts_within_the_round(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    run(tmp_path, order(tmp_path, 1))
    deliver(tmp_path, "b.jsonl", 200, seed=2)
    with pytest.raises(Interrupted):
        run(tmp_path, order(tmp_path, 2, 3, 3), stop_after=12)
    result, progress = run(tmp_path, order(tmp_path, 2, 3, 3))
    assert (progress.step, progress.total_steps, progress.flushed_step) == (20, 20, 40)
    assert (progress.version, progress.digest) == (result.version, result.digest)
    assert progress.accuracy_before == result.accuracy_before


def test_a_finished_round_is_not_run_again(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    first, _ = run(tmp_path, order(tmp_path, 1))
    deliver(tmp_path, "b.jsonl", 200, seed=2)
    again, _ = run(tmp_path, order(tmp_path, 1), job=RejectingJob)
    assert (again.digest, again.version, again.verdict) == (first.digest, first.version, first.verdict)


def test_a_round_takes_at_most_what_it_can_score_and_leaves_the_rest(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 500, seed=1)
    for number, last in ((1, 360), (2, 500)):
        run(tmp_path, order(tmp_path, number))
        assert taken(tmp_path, number)[0][2] == last
    assert taken(tmp_path, 2) == [("a.jsonl", 361, 500)]


def test_the_data_of_a_failed_or_superseded_round_is_fresh_again(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    with pytest.raises(Interrupted):
        run(tmp_path, order(tmp_path, 1), stop_after=7)
    run(tmp_path, order(tmp_path, 2))
    assert taken(tmp_path, 2) == taken(tmp_path, 1) == [("a.jsonl", 1, 200)]
    closed = log_of(tmp_path).version(2)
    assert (closed.round, closed.last_step, closed.evaluation, closed.verdict) == (1, 7, None, None)
    assert closed.cursor == 7 * 16
    assert verify(log_of(tmp_path).store).problems == []
    with pytest.raises(LogMismatch, match="in round 2 already: round 1 is over"):
        run(tmp_path, order(tmp_path, 1))


def test_a_round_without_fresh_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"spec.data.train.uri: .* has no record that no round has learned from"):
        run(tmp_path, order(tmp_path, 1))
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    run(tmp_path, order(tmp_path, 1))
    with pytest.raises(InvalidData, match="round 2 can begin when there is fresh data"):
        run(tmp_path, order(tmp_path, 2, 3, 3))


def test_a_resumed_round_needs_the_objects_that_it_began_with(tmp_path: Path) -> None:
    path = deliver(tmp_path, "a.jsonl", 200, seed=1)
    with pytest.raises(Interrupted):
        run(tmp_path, order(tmp_path, 1), stop_after=7)
    content = path.read_text()
    path.write_text(content.replace("film", "plot"))
    with pytest.raises(InvalidData, match=r"a.jsonl, which this round learns from, has other content"):
        run(tmp_path, order(tmp_path, 1))
    path.unlink()
    with pytest.raises(InvalidData, match=r"a.jsonl, which this round learns from, is gone"):
        run(tmp_path, order(tmp_path, 1))
    path.write_text(content + "one more line\n")
    assert run(tmp_path, order(tmp_path, 1))[0].ok


def test_an_order_that_does_not_fit_the_log_is_refused(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    run(tmp_path, order(tmp_path, 1))
    deliver(tmp_path, "b.jsonl", 200, seed=2)
    wrong = {"number": 2, "base": {"version": 3, "sha256": "0" * 64}}
    with pytest.raises(LogMismatch, match=r"versions/3.json of .* has the SHA-256"):
        run(tmp_path, wrong)
    with pytest.raises(Interrupted):
        run(tmp_path, order(tmp_path, 2, 3, 3), stop_after=3)
    with pytest.raises(LogMismatch, match=r"round 2 of .*: base was version 3 \(.*\) when .* is version 2"):
        run(tmp_path, order(tmp_path, 2, 2, 3))
    with pytest.raises(LogMismatch, match=r"served was version 3 .* is the base model here"):
        run(tmp_path, order(tmp_path, 2, 3))
    with pytest.raises(LogMismatch, match="this manifest orders none"):
        run(tmp_path, None)
    with pytest.raises(LogMismatch, match="dataDigest"):
        document = source(tmp_path)
        document["spec"]["data"]["heldOut"] = {"examples": 50}
        run(tmp_path, order(tmp_path, 2, 3, 3), document=document)


def test_the_bound_on_divergence_is_the_rounds_own(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    first, _ = run(tmp_path, order(tmp_path, 1))
    assert first.loss_after is not None
    # The labels are turned over: the loss before the second round is above the first one's bound.
    path = deliver(tmp_path, "b.jsonl", 200, seed=2)
    path.write_text(path.read_text().replace('"label": 1', '"label": 2').replace('"label": 0', '"label": 1'))
    path.write_text(path.read_text().replace('"label": 2', '"label": 0'))
    document = source(tmp_path)
    document["spec"]["evaluation"]["maxLossIncrease"] = 0.01
    second, _ = run(tmp_path, order(tmp_path, 2, 3, 3), document=document)
    assert second.loss_before is not None
    assert second.loss_before > 1.01 * first.loss_after
    assert second.loss_after is not None
    assert second.loss_after < second.loss_before


def test_early_stopping_counts_the_rounds_own_evaluations(tmp_path: Path) -> None:
    document = source(tmp_path)
    document["spec"]["optimizer"]["learningRate"] = 1e-12
    document["spec"]["evaluation"] = {"every": 5, "earlyStopping": {"patience": 2, "minDelta": 0.001}}
    for number in (1, 2):
        deliver(tmp_path, f"{number}.jsonl", 200, seed=number)
        result, _ = run(tmp_path, order(tmp_path, number), document=document)
        assert (result.reason, result.steps) == ("EarlyStopped", 10)
        assert log_of(tmp_path).versions()[-1].verdict is not None


def test_an_evaluation_source_is_listed_whole_in_every_round(tmp_path: Path) -> None:
    dev = deliver(tmp_path, "a.jsonl", 60, seed=8).rename(tmp_path / "dev.jsonl")
    document = source(tmp_path)
    document["spec"]["data"]["evaluation"] = {"uri": str(dev)}
    for number in (1, 2):
        deliver(tmp_path, f"{number}.jsonl", 200, seed=number)
        run(tmp_path, order(tmp_path, number), document=document)
        listed = data_of(tmp_path, number)
        assert listed.evaluation is not None
        assert [(Path(e.name).name, e.first, e.last) for e in listed.evaluation] == [("dev.jsonl", 1, 60)]
        assert log_of(tmp_path).versions()[-1].evaluation.examples == 60


def test_any_version_can_be_replayed_from_the_writer(tmp_path: Path) -> None:
    three_rounds(tmp_path, lambda folder, ordered, job: run(folder, ordered, job=job)[0])
    reader = log_of(tmp_path)
    with LogWriter.open(reader.store, reader.run, data_digest=None) as log:
        for number in (None, 3, 6, 7, 9):
            parsed, _ = load_document(write_round(tmp_path, source(tmp_path), order(tmp_path, 4, number)))
            assert parsed.round is not None
            bank = Bank(reader.run.layout(), reader.run.method())
            bank.apply(bank_updates(log, parsed.round.base))
            assert bank.digest() == (reader.version(number).digest if number else replay(reader, step=0).digest())


def test_a_follower_waits_for_the_leader_to_begin(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    said: list[str] = []
    ordered = order(tmp_path, 1)

    def sleep(_: float) -> None:
        run(tmp_path, ordered)

    data = await_data(log_of(tmp_path).store, 1, said.append, sleep)
    assert data == data_of(tmp_path, 1)
    assert said == ["waiting for worker 0 to begin round 1"]
    with pytest.raises(LogMismatch):
        deliver(tmp_path, "b.jsonl", 200, seed=2)
        run(tmp_path, order(tmp_path, 2, 3, 3))
        await_data(log_of(tmp_path).store, 1, said.append, sleep)


def test_a_diverged_round_leaves_no_verdict(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 200, seed=1)
    document = source(tmp_path)
    document["spec"]["optimizer"]["learningRate"] = 1e6
    for _ in range(2):
        with pytest.raises(Diverged, match="passed its bound"):
            run(tmp_path, order(tmp_path, 1), document=document)
    assert all(v.verdict is None for v in log_of(tmp_path).versions())


def test_the_document_says_what_is_wrong_with_an_order(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"round\.number"):
        run(tmp_path, {"number": 0})
