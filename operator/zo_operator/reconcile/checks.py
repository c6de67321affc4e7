"""The checks of a canary: when each is asked, what its answers add up to, and when they speak against the version.

Pure steps on `status.serving.checks`. Nobody's silence fails a version by itself: a check that has no clear answer
fails only when it is asked again after `timeoutSeconds`, so that an operator that was away condemns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from zo_operator import names
from zo_operator.api.checks import Check
from zo_operator.api.serving_status import MESSAGE_LIMIT, CheckStatus
from zo_operator.reconcile.goal import Fault
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.questions import Finding

# Between two attempts of a Job that could not judge.
_JOB_PAUSE = 60


def begin(checks: Sequence[Check], known: Iterable[CheckStatus]) -> list[CheckStatus]:
    """One status a check: the known one, as long as it is about the same question."""
    found = {status.name: status for status in known}
    return [
        status
        if (status := found.get(check.name)) is not None and status.definition == definition(check)
        else CheckStatus(name=check.name, definition=definition(check))
        for check in checks
    ]


def definition(check: Check) -> str:
    """Identifies what a check asks."""
    return names.digest(check.model_dump_json(exclude_defaults=True))


def paused(statuses: Iterable[CheckStatus]) -> list[CheckStatus]:
    """The statuses while the first replicas do not all serve the version: nothing is asked, and no clock runs."""
    return [
        status.model_copy(update={"inconclusive_since": None, "state": "Waiting"})
        if status.state == "Inconclusive"
        else status
        for status in statuses
    ]


def due(check: Check, status: CheckStatus, ready: datetime) -> datetime | None:
    """When the check is to be asked next, `ready` being the moment since when the first replicas serve the version;
    none where it has its answer for good."""
    if status.state == "Failed" or (check.held_out is not None and status.state == "Passed"):
        return None
    asked = parse_time(status.time) if status.time is not None else None
    if check.prometheus is not None:
        pause = timedelta(seconds=check.prometheus.interval_seconds)
        return ready + pause if asked is None or asked < ready else asked + pause
    if asked is None:
        return ready
    return max(ready, asked + timedelta(seconds=min(_JOB_PAUSE, check.timeout_seconds)))


def satisfied(check: Check, status: CheckStatus, ready: datetime) -> bool:
    """Whether the check speaks for the version: the adapter's accuracy once and for all, measurements of replicas
    only where they are of replicas that have served it since."""
    if status.state != "Passed" or status.time is None:
        return False
    return check.held_out is not None or parse_time(status.time) >= ready


def take(check: Check, status: CheckStatus, finding: Finding, now: datetime) -> CheckStatus:
    """The status after one more attempt."""
    update: dict[str, Any] = {"asked": status.asked + 1, "time": timestamp(now), "message": _cut(finding.message)}
    if finding.verdict == "Unclear":
        since = status.inconclusive_since or timestamp(now)
        over = now - parse_time(since) >= timedelta(seconds=check.timeout_seconds)
        update |= {"inconclusive_since": since, "state": "Failed" if over else "Inconclusive"}
        return status.model_copy(update=update)
    update["inconclusive_since"] = None
    if finding.verdict == "Pass":
        return status.model_copy(update=update | {"state": "Passed"})
    failures = status.failures + 1
    limit = check.prometheus.failure_limit if check.prometheus is not None else 1
    return status.model_copy(
        update=update | {"failures": failures, "state": "Failed" if failures >= limit else "Failing"}
    )


def examine(
    checks: Sequence[Check],
    statuses: Sequence[CheckStatus],
    findings: Mapping[str, Finding],
    now: datetime,
) -> list[CheckStatus]:
    """The statuses with the findings, by the checks' names."""
    return [
        take(check, status, findings[check.name], now) if check.name in findings else status
        for check, status in zip(checks, statuses, strict=True)
    ]


def fault(checks: Sequence[Check], statuses: Sequence[CheckStatus]) -> Fault | None:
    """Why the version is to be rolled back, if a check has failed for good."""
    for check, status in zip(checks, statuses, strict=True):
        if status.state != "Failed":
            continue
        if status.inconclusive_since is not None:
            how = f"has had no clear answer for {check.timeout_seconds} seconds"
        elif check.prometheus is not None:
            how = f"failed {status.failures} of {status.asked} times"
        else:
            how = "failed"
        return Fault("CheckFailed", f"check {check.name} {how}: {status.message}")
    return None


def told(statuses: Iterable[CheckStatus]) -> list[str]:
    """What is worth saying of checks that have not passed."""
    parts = []
    for status in statuses:
        if status.state == "Failing":
            parts.append(f"check {status.name} failed {status.failures} of {status.asked} times: {status.message}")
        elif status.state == "Inconclusive":
            parts.append(f"check {status.name} has no clear answer: {status.message}")
        elif status.state == "Waiting":
            parts.append(f"check {status.name} is under way")
    return parts


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 3] + "..."
