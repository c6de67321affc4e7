"""What the checks of a canary are asked, and what has come back: Prometheus and Jobs alike."""

from __future__ import annotations

from datetime import datetime

from zo_operator.api.checks import Check, PrometheusCheck
from zo_operator.api.serving import Rollout
from zo_operator.api.serving_status import CheckStatus, ServingStatus
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.reconcile import checks, held_out
from zo_operator.reconcile.goal import Goal, target_of
from zo_operator.reconcile.held_out import Findings
from zo_operator.reconcile.observed import Observed, Resource, parse_time
from zo_operator.reconcile.questions import Question, assess, render

__all__ = ["Findings", "findings", "questions"]


def findings(
    resource: Resource,
    spec: ZOFineTuneSpec,
    old: ServingStatus | None,
    goal: Goal,
    model: str,
    observed: Observed,
) -> Findings:
    """Answers to what the stored status had asked of this very goal."""
    if spec.serving is None or old is None or old.stage != "Canary" or old.canary_ready_time is None:
        return Findings({})
    if (old.model_name, target_of(old), old.log_uri) != (model, goal.target, goal.uri):
        return Findings({})
    wished = spec.serving.rollout.checks
    statuses = checks.begin(wished, old.checks)
    told = held_out.findings(resource, wished, statuses, goal, model, observed)
    found = dict(told.found)
    for check, status in zip(wished, statuses, strict=True):
        if check.prometheus is not None:
            asked = _question(resource, check, check.prometheus, status, old)
            if asked in observed.replies:
                found[check.name] = assess(check.prometheus, observed.replies[asked])
    return Findings(found, told.refresh)


def questions(resource: Resource, rollout: Rollout, state: ServingStatus, now: datetime) -> tuple[Question, ...]:
    """What to ask Prometheus now."""
    if state.stage != "Canary" or state.canary_ready_time is None:
        return ()
    ready = parse_time(state.canary_ready_time)
    found = []
    for check, status in zip(rollout.checks, checks.begin(rollout.checks, state.checks), strict=True):
        moment = checks.due(check, status, ready)
        if check.prometheus is not None and moment is not None and now >= moment:
            found.append(_question(resource, check, check.prometheus, status, state))
    return tuple(found)


def _question(
    resource: Resource, check: Check, prometheus: PrometheusCheck, status: CheckStatus, state: ServingStatus
) -> Question:
    token = prometheus.token_secret_ref
    return Question(
        check=check.name,
        number=status.asked + 1,
        url=prometheus.url,
        query=render(
            prometheus.query,
            pods=state.canary,
            namespace=resource.namespace,
            model=state.model_name,
            version=state.version or 0,
        ),
        namespace=resource.namespace,
        token=(token.name, token.key) if token is not None else None,
    )
