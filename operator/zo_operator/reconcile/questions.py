"""Questions to Prometheus, and what their answers say: pure, so that every answer can be tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zo_operator.api.checks import PrometheusCheck
from zo_operator.reconcile.replicas import Problem

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Question:
    """One instant query, asked once. `number` tells it from the same query a minute later."""

    check: str
    number: int
    url: str
    query: str
    namespace: str
    token: tuple[str, str] | None = None
    """Name of a Secret and a key in it."""


Reply = tuple[float, ...] | Problem
"""The values of the answer, or why there is none."""

Verdict = Literal["Pass", "Fail", "Unclear"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one attempt of a check has shown, with the numbers."""

    verdict: Verdict
    message: str


def render(query: str, *, pods: Sequence[str], namespace: str, model: str, version: int) -> str:
    """The query with its placeholders filled in. Pods become a regular expression that needs no escapes inside a
    string of PromQL: of the characters of their names only the dot is special."""
    values = {
        "{pods}": "|".join(pod.replace(".", "[.]") for pod in pods),
        "{namespace}": namespace,
        "{model}": model,
        "{version}": str(version),
    }
    for name, value in values.items():
        query = query.replace(name, value)
    return query


def assess(check: PrometheusCheck, reply: Reply) -> Finding:
    """Judge an answer. What is no number, or not there at all, speaks neither for nor against the version."""
    if isinstance(reply, Problem):
        return Finding("Unclear", f"{reply.reason}: {reply.message}")
    bounded = check.min is not None or check.max is not None
    if not reply:
        if bounded:
            return Finding("Unclear", "NoData: the query has no value yet")
        return Finding("Fail", "the query has no value: the comparison does not hold")
    if any(map(math.isnan, reply)):
        return Finding("Unclear", "NoData: a value is NaN")
    wrong = [value for value in reply if not _passes(check, value)]
    return Finding("Fail" if wrong else "Pass", f"{_numbers(wrong or reply)}{_bound(check, ok=not wrong)}")


def _passes(check: PrometheusCheck, value: float) -> bool:
    if check.min is None and check.max is None:
        return value != 0
    return (check.min is None or value >= check.min) and (check.max is None or value <= check.max)


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more values"


def _bound(check: PrometheusCheck, *, ok: bool) -> str:
    if check.min is None and check.max is None:
        return ", other than 0" if ok else ", where anything but 0 was to be"
    bounds = [f"at least {check.min:g}"] if check.min is not None else []
    bounds += [f"at most {check.max:g}"] if check.max is not None else []
    return f", {'as demanded' if ok else 'not'} {' and '.join(bounds)}"
