"""A follower's process, from its manifest to the end of the leader's run."""

from __future__ import annotations

from contextlib import ExitStack

from zo_runtime.config.document import Document
from zo_runtime.console import ConsoleObserver
from zo_runtime.inputs import BaseModel, Inputs
from zo_runtime.progress import Progress
from zo_runtime.rounds.join import await_data
from zo_runtime.storage.open import open_store
from zo_runtime.telemetry.metrics import RunMetrics
from zo_runtime.telemetry.server import TelemetryServer
from zo_runtime.telemetry.tracker import ProgressTracker
from zo_runtime.workers.follower import Follower
from zo_runtime.workers.membership import Membership


def follow(document: Document, base: BaseModel, place: Membership) -> None:
    """Load data and engine, and serve the leader. It writes no log: nothing is lost when it dies."""
    from zo_runtime.workers.gloo import FollowerRendezvous  # noqa: PLC0415 - torch takes seconds to import

    spec, total = document.spec, document.spec.optimizer.steps
    tracker = ProgressTracker(Progress(total_steps=total, log_uri=spec.storage.uri))
    console = ConsoleObserver(tracker.snapshot)
    with ExitStack() as stack:
        telemetry, metrics = spec.metrics, RunMetrics(document.metadata.name)
        stack.enter_context(TelemetryServer(telemetry.host, telemetry.port, metrics, tracker.snapshot))
        stack.enter_context(console)
        listed = None
        if document.round is not None:
            store = open_store(spec.storage.uri, spec.storage.s3)
            listed = await_data(store, document.round.number, console.on_message)
        inputs = Inputs.read(document, base, listed)
        console.on_message(f"worker {place.rank} of {place.size}: loading {spec.model.name}")
        scorer = base.start(inputs.layout, inputs.method)
        stack.callback(scorer.close)
        meeting = FollowerRendezvous(place.host, place.port, place.rank, place.size, console.on_message)
        Follower(
            scorer=scorer,
            directions=inputs.method.directions,
            batch=inputs.batch,
            sets=inputs.sets,
            fingerprint=inputs.fingerprint(),
            meet=meeting.meet,
            notify=console.on_message,
        ).run()
