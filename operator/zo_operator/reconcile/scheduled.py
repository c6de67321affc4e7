"""The schedule's half of the plan: which rounds there are, and which Job looks at the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from zo_operator import names
from zo_operator.api.schedule_status import ScheduleStatus
from zo_operator.api.serving_status import ServingStatus
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round
from zo_operator.conditions import Said, Verdict
from zo_operator.reconcile.enough import fewest_records
from zo_operator.reconcile.observed import Action, Defaults, Observed, Resource, timestamp
from zo_operator.reconcile.probe import content, look_at, probe_actions
from zo_operator.reconcile.rollout_events import Transition
from zo_operator.reconcile.rounds import begin, superseded, trim
from zo_operator.reconcile.schedule import Step, advance, skipped
from zo_operator.reconcile.schedule_words import between_rounds, fresh_condition
from zo_operator.reconcile.situation import Situation


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """What a schedule adds to a plan. `idle` is the verdict where no round runs; `refresh` asks for a plan with live
    pods instead."""

    rounds: list[Round]
    status: ScheduleStatus | None = None
    said: Said | None = None
    idle: Verdict | None = None
    told: tuple[Transition, ...] = ()
    again: float | None = None
    refresh: bool = False


def scheduled(
    resource: Resource,
    spec: ZOFineTuneSpec,
    rounds: list[Round],
    serving: ServingStatus | None,
    observed: Observed,
    now: datetime,
    limit: int,
) -> SchedulePlan:
    """Plan the schedule of one resource. `rounds` are those of the spec, the ended one concluded."""
    schedule, old = spec.schedule, resource.status.schedule
    if schedule is None:
        return SchedulePlan(rounds)
    annotation = resource.annotation(names.ANNOTATION_SKIP)
    head = rounds[0] if rounds else None
    if head is not None and head.outcome is None and head.number in skipped(schedule, annotation):
        head = superseded(head, resource.status, timestamp(now), "Skipped", _SKIPPED)
        rounds = [head, *rounds[1:]]
    probing = old is not None and old.probe_start_time is not None
    look = look_at(resource, spec, old.probe, observed) if probing and old is not None else None
    if look is not None and look.wordless and not observed.live:
        return SchedulePlan(rounds, refresh=True)
    at = Situation(
        now=now,
        head=head,
        stored_head=resource.status.rounds[0] if resource.status.rounds else None,
        content=content(resource, spec),
        fewest=fewest_records(spec),
        restart=resource.restart,
        skip=annotation,
        suspended=spec.suspend,
        canary=serving is not None and serving.stage == "Canary",
        look=look,
    )
    step = advance(schedule, old, at)
    if step.begin is not None:
        rounds = trim(_begin(resource, spec, rounds, step, now), spec, limit)
    return SchedulePlan(
        rounds=rounds,
        status=step.status,
        said=fresh_condition(step.status, at),
        idle=between_rounds(schedule, step.status, rounds[0] if rounds else None),
        told=step.told,
        again=step.again,
    )


_SKIPPED = "skipped by hand; its data stays fresh"
_REPLACED = "a round that is due takes its place, for spec.schedule.concurrencyPolicy is Replace"


def _begin(resource: Resource, spec: ZOFineTuneSpec, rounds: list[Round], step: Step, now: datetime) -> list[Round]:
    """The rounds with another one in front, which takes the place of one that runs, and is over if it is skipped."""
    if rounds and rounds[0].outcome is None:
        rounds = [superseded(rounds[0], resource.status, timestamp(now), "Replaced", _REPLACED), *rounds[1:]]
    records = step.status.fresh.records if step.status.fresh is not None else 0
    made = begin(resource, spec, rounds, step.begin or "Manual", records, step.status)
    if step.skip:
        update = {"outcome": "Superseded", "reason": "Skipped", "message": _SKIPPED}
        made = made.model_copy(update=update | {"completion_time": timestamp(now)})
    return [made, *rounds]


def look_actions(
    resource: Resource, spec: ZOFineTuneSpec, plan: SchedulePlan, observed: Observed, defaults: Defaults
) -> Iterator[Action]:
    """What is to be done about Jobs that look at the data."""
    state = plan.status
    yield from probe_actions(
        resource,
        spec,
        state.probe if state is not None else 0,
        observed,
        defaults,
        wanted=state is not None and state.probe_start_time is not None,
        keep=state is not None and not spec.suspend,
    )
