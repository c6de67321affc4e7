"""The tracker folds events into the progress that people and the operator read."""

import threading

import pytest

from zo_runtime.progress import Progress
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict
from zo_runtime.telemetry.observer import Observers
from zo_runtime.telemetry.tracker import RECENT_STEPS, ProgressTracker


def step(number: int, seconds: float = 0.5, tokens: int = 100) -> StepRecord:
    return StepRecord(number, 0, (0.75,), (0.25,), (256.0,), (0.1,), 1e-3, tokens, seconds)


def test_every_event_shows_in_the_progress() -> None:
    tracker = ProgressTracker(Progress(total_steps=10, log_uri="out"))
    observers = Observers(tracker)
    observers.on_phase("Evaluating")
    observers.on_quarantine({"too long": 2})
    observers.on_quarantine({"no label": 1})
    observers.on_evaluation(EvaluationRecord(0, 0.69, 0.54, 200, 1.0))
    observers.on_phase("Training")
    observers.on_step(step(1))
    observers.on_evaluation(EvaluationRecord(1, 0.6, 0.7, 200, 1.0))
    observers.on_flush(FlushRecord(1, 10, "abc", 10))
    observers.on_verdict(Verdict(accepted=False, reason="NoImprovement"))
    observers.on_publish(PublishRecord(4, 1, "abc"))
    observers.on_message("nothing of this is kept")
    assert tracker.snapshot() == Progress(
        phase="Training",
        step=1,
        total_steps=10,
        loss=0.5,
        held_out_loss=0.6,
        accuracy=0.7,
        accuracy_before=0.54,
        loss_before=0.69,
        step_seconds=0.5,
        eta_seconds=4.5,
        tokens_per_second=200,
        flushed_step=1,
        version=4,
        log_uri="out",
        digest="abc",
        quarantined=3,
    )


def test_one_slow_step_does_not_move_the_time_left_and_old_steps_are_forgotten() -> None:
    tracker = ProgressTracker(Progress(total_steps=1000))
    for number in range(1, RECENT_STEPS + 1):
        tracker.on_step(step(number, seconds=60.0 if number == 3 else 2.0))
    assert tracker.snapshot().eta_seconds == 2.0 * (1000 - RECENT_STEPS)
    for number in range(RECENT_STEPS + 1, 2 * RECENT_STEPS + 1):
        tracker.on_step(step(number, seconds=0.25))
    progress = tracker.snapshot()
    assert progress.step_seconds == 0.25
    assert progress.tokens_per_second == pytest.approx(400)


def test_a_resumed_run_keeps_what_was_known() -> None:
    tracker = ProgressTracker(Progress(total_steps=10, step=5, flushed_step=5, accuracy_before=0.5))
    tracker.on_evaluation(EvaluationRecord(5, 0.6, 0.7, 200, 1.0))
    assert tracker.snapshot().accuracy_before == 0.5


def test_what_an_earlier_pod_made_durable_counts_as_finished() -> None:
    tracker = ProgressTracker(Progress(total_steps=10))
    tracker.on_flush(FlushRecord(6, 0, "abc", 10))
    assert (tracker.snapshot().step, tracker.snapshot().flushed_step) == (6, 6)
    tracker.on_step(step(8))
    tracker.on_flush(FlushRecord(7, 10, "abd", 20))
    assert (tracker.snapshot().step, tracker.snapshot().flushed_step) == (8, 7)


def test_nothing_is_left_to_wait_for_after_the_end() -> None:
    tracker = ProgressTracker(Progress(total_steps=10))
    tracker.on_step(step(4, seconds=0.0))
    assert tracker.snapshot().tokens_per_second is None
    tracker.on_phase("Finished")
    assert tracker.snapshot().eta_seconds is None
    tracker.on_step(step(12))
    assert tracker.snapshot().eta_seconds == 0


def test_readers_on_other_threads_see_whole_states() -> None:
    tracker = ProgressTracker(Progress(total_steps=10**6))
    over = threading.Event()
    torn: list[Progress] = []

    def read() -> None:
        while not over.is_set():
            seen = tracker.snapshot()
            if seen.step and seen.eta_seconds != seen.total_steps - seen.step:
                torn.append(seen)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 2000):
        tracker.on_step(step(number, seconds=1.0))
    over.set()
    reader.join()
    assert torn == []
