"""The whole decision of the operator, as one pure function."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from zo_operator import conditions
from zo_operator.api.spec import ZOFineTuneSpec, parse_spec
from zo_operator.api.status import Phase, Round, Status
from zo_operator.conditions import Said, Verdict
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.children import actions
from zo_operator.reconcile.events import events
from zo_operator.reconcile.judge import invalid, judge
from zo_operator.reconcile.measure import measured
from zo_operator.reconcile.observed import Defaults, Leader, Observed, Plan, Resource, timestamp
from zo_operator.reconcile.outcome import conclude
from zo_operator.reconcile.rounds import advance
from zo_operator.reconcile.scheduled import SchedulePlan, look_actions, scheduled
from zo_operator.reconcile.serve import ServingPlan, refused_here, serve
from zo_operator.reconcile.view import View, look
from zo_runtime.errors import InvalidSpec


def plan(resource: Resource, observed: Observed, now: datetime, defaults: Defaults) -> Plan:
    """Decide what to do about one resource.

    Pure: the same resource, observation and time give the same plan. Level-triggered: nothing but the stored
    status is remembered between two plans, and carrying out a plan twice does no harm.

    Args:
        resource: the `ZOFineTune` as stored.
        observed: everything that carries its uid, and the leader's progress if it was asked.
        now: the present moment, for times in the status.
        defaults: settings of the operator.
    """
    if resource.deleting:
        # Owner references do the rest, with or without an operator.
        return Plan()
    try:
        spec = parse_spec(resource.spec)
    except InvalidSpec as error:
        return _refuse(resource, str(error), timestamp(now))
    rounds = advance(resource, spec, timestamp(now), defaults.history)
    view = look(_current(rounds), observed)
    if rounds and rounds[0].outcome is None and view.end is not None:
        if view.result is None and not observed.live:
            return Plan(refresh=True)
        rounds[0] = conclude(rounds[0], view, view.end, resource.status, timestamp(now))
    serving = serve(resource, spec, rounds, observed, now, defaults)
    if serving.refresh:
        return Plan(refresh=True)
    rounds = list(serving.rounds)
    schedule = scheduled(resource, spec, rounds, serving.status, observed, now, defaults.history)
    if schedule.refresh:
        return Plan(refresh=True)
    rounds, view = _started(schedule.rounds, observed)
    current = _current(rounds)
    if refused_here(resource, observed.refusal):
        observed = replace(observed, refusal=None)
    verdict, phase = _with_serving(*judge(spec, current, view, observed, schedule.idle), serving)
    status = _status(resource, spec, rounds, view, schedule, serving, verdict, phase, now)
    told = tuple(events(resource.status, status, spec, schedule.told))
    children = tuple(actions(resource, spec, current, view, observed, defaults))
    looks = tuple(look_actions(resource, spec, schedule, observed, defaults))
    leader = _leader(spec, view, phase)
    everything = (*children, *serving.actions, *looks, *told)
    again = _earliest(serving.again, schedule.again)
    return Plan(everything, status, leader, serving.follow, serving.ask, again=again)


def _with_serving(verdict: Verdict, phase: Phase, serving: ServingPlan) -> tuple[Verdict, Phase]:
    """A complete round is ready when its version has reached the replicas."""
    if verdict.kind not in ("completed", "waiting") or not serving.unsettled or serving.said is None:
        return verdict, phase
    _, reason, message = serving.said
    return Verdict("progressing", reason, message), "RollingOut"


def _leader(spec: ZOFineTuneSpec, view: View, phase: Phase) -> Leader | None:
    return podfacts.address(view.leader, spec.metrics.port) if phase == "Running" else None


def _refuse(resource: Resource, message: str, now: str) -> Plan:
    """Say that the spec is invalid, and touch nothing."""
    old = resource.status
    verdict, phase = invalid(message)
    said = conditions.build(
        verdict,
        suspended=False,
        generation=resource.generation,
        old=old.conditions,
        now=now,
        served=_said(old, conditions.SERVED),
        fresh=_said(old, conditions.FRESH_DATA),
    )
    update = {"observed_generation": resource.generation, "phase": phase, "conditions": said}
    status = old.model_copy(update=update)
    return Plan(tuple(events(old, status, None)), status)


def _said(status: Status, kind: str) -> Said | None:
    last = next((c for c in status.conditions if c.type == kind), None)
    return (last.status, last.reason, last.message) if last else None


def _current(rounds: list[Round]) -> Round | None:
    return rounds[0] if rounds else None


def _started(rounds: list[Round], observed: Observed) -> tuple[list[Round], View]:
    """The rounds with the current one's start, and the view of it."""
    view = look(_current(rounds), observed)
    began = (view.job or {}).get("status", {}).get("startTime")
    if not rounds or rounds[0].start_time is not None or began is None:
        return rounds, view
    return [rounds[0].model_copy(update={"start_time": began}), *rounds[1:]], view


def _earliest(*moments: float | None) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _status(
    resource: Resource,
    spec: ZOFineTuneSpec,
    rounds: list[Round],
    view: View,
    schedule: SchedulePlan,
    serving: ServingPlan,
    verdict: Verdict,
    phase: Phase,
    now: datetime,
) -> Status:
    old = resource.status
    said = conditions.build(
        verdict,
        suspended=spec.suspend,
        generation=resource.generation,
        old=old.conditions,
        now=timestamp(now),
        served=serving.said,
        fresh=schedule.said,
    )
    numbers = measured(old, spec, _current(rounds), view, phase, now)
    return Status(
        observed_generation=resource.generation,
        phase=phase,
        conditions=said,
        rounds=rounds,
        schedule=schedule.status,
        serving=serving.status,
        **numbers,
    )
