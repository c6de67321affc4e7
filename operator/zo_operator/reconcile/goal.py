"""Which version replicas are to serve in the end, which ones never again, and whom to ask for leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from zo_operator import names
from zo_operator.api.serving_status import (
    WITHDRAWN_LIMIT,
    PreviousVersion,
    RollbackRequest,
    ServingStatus,
    WithdrawnVersion,
)
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round
from zo_runtime.serving.contract import Target

REQUESTED = "RollbackRequested"
_VALUE_LIMIT, _DIGITS = 40, 9


@dataclass(frozen=True, slots=True)
class Goal:
    """What all replicas are to serve in the end. `pinned`: because somebody has named this very version."""

    target: Target
    uri: str
    digest: str | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a version is taken back, with the numbers."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class History:
    """The rounds, newest first, and the versions that are not served again."""

    rounds: tuple[Round, ...]
    withdrawn: tuple[WithdrawnVersion, ...] = ()

    def is_withdrawn(self, target: Target) -> bool:
        """Whether the version was rolled back, whichever round has published it."""
        return any(past.sha256 == target.sha256 for past in self.withdrawn)

    def withdraw(self, target: Target, fault: Fault, now: str) -> History:
        """The history with a version rolled back: every round that has published it says so."""
        update = {"outcome": "RolledBack", "reason": fault.reason, "message": fault.message}
        rounds = [
            past.model_copy(update=update)
            if past.outcome == "Completed" and past.version_sha256 == target.sha256
            else past
            for past in self.rounds
        ]
        entry = WithdrawnVersion(
            version=target.version, sha256=target.sha256, reason=fault.reason, message=fault.message, time=now
        )
        return History(tuple(rounds), (entry, *self.withdrawn)[:WITHDRAWN_LIMIT])

    def offers(self, uri: str) -> list[Goal]:
        """What completed rounds have published and nobody has taken back, newest first. `uri` is the log of rounds
        that do not tell theirs."""
        found = [(published(past), past) for past in self.rounds if past.outcome == "Completed"]
        return [
            Goal(target, past.log_uri or uri, past.digest)
            for target, past in found
            if target is not None and not self.is_withdrawn(target)
        ]


def published(past: Round) -> Target | None:
    """What a round has published; none if its run was too old to tell the version's hash."""
    return as_target(past.version, past.version_sha256)


def as_target(version: int | None, sha256: str | None, step: int | None = None) -> Target | None:
    """The target that parts of a status tell, if they tell one."""
    if version is None or sha256 is None:
        return None
    try:
        return Target(version=version, sha256=sha256, step=step)
    except ValidationError:
        return None


def target_of(state: ServingStatus | PreviousVersion) -> Target | None:
    """The target that a status tells."""
    return as_target(state.version, state.sha256, state.step)


def choose(spec: ZOFineTuneSpec, history: History) -> Goal | None:
    """The spec's target, else the version of the newest round that completed and was not rolled back; none where
    there is none yet."""
    pin = spec.serving.target if spec.serving else None
    offers = history.offers(spec.storage.uri)
    if pin is None:
        return offers[0] if offers else None
    digest = next((past.digest for past in history.rounds if published(past) == pin), None)
    return Goal(pin, spec.storage.uri, digest, pinned=True)


def last_goal(old: ServingStatus | None, model: str) -> Goal | None:
    """What was served last, once the history of rounds has forgotten where it came from."""
    target = target_of(old) if old is not None and old.model_name == model else None
    return None if old is None or target is None else Goal(target, old.log_uri or "", old.digest)


def before(state: ServingStatus) -> Goal | None:
    """What the other replicas serve while some try a version."""
    past = state.previous
    target = target_of(past) if past is not None else None
    return None if past is None or target is None else Goal(target, past.log_uri or state.log_uri or "", past.digest)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a request to go back: the goal of this very plan, where it was accepted."""

    history: History
    request: RollbackRequest | None
    goal: Goal | None = None


def answer_request(value: str, old: ServingStatus | None, history: History, uri: str, now: str) -> Answered:
    """Carry out the annotation `rollback-to` unless its value is the one that was seen last. Whatever of the same
    log is newer than the version that it names is withdrawn; taking the annotation away makes room for the same
    value again."""
    if not value:
        return Answered(history, None)
    value = value if len(value) <= _VALUE_LIMIT else f"{value[:_VALUE_LIMIT]}...{names.digest(value)}"
    if old is not None and old.rollback is not None and old.rollback.value == value:
        return Answered(history, old.rollback)
    number = _number(value)
    known = [*history.offers(uri), *_remembered(old, history)]
    goal = next((found for found in known if found.target.version == number and found.uri == uri), None)
    if goal is None:
        return Answered(
            history, RollbackRequest(value=value, accepted=False, message=_unknown(value, number, history))
        )
    newer = _newer(known, goal)
    fault = Fault(REQUESTED, f"rolled back to version {number}, as the annotation asks")
    for target in newer:
        history = history.withdraw(target, fault, now)
    told = f"versions {', '.join(str(target.version) for target in newer)} are" if newer else "no newer version is"
    message = f"back to version {number}; {told} taken back"
    return Answered(history, RollbackRequest(value=value, accepted=True, message=message), goal)


def _remembered(old: ServingStatus | None, history: History) -> list[Goal]:
    """Versions that replicas were told of last, whole, whatever step of them that was."""
    found = [last_goal(old, old.model_name), before(old)] if old is not None else []
    whole = [
        Goal(
            Target(version=goal.target.version, sha256=goal.target.sha256),
            goal.uri,
            goal.digest if goal.target.step is None else None,
        )
        for goal in found
        if goal is not None
    ]
    return [goal for goal in whole if not history.is_withdrawn(goal.target)]


def _newer(known: Sequence[Goal], goal: Goal) -> list[Target]:
    """What the log has after that version, each once, oldest first."""
    found = {
        other.target.sha256: Target(version=other.target.version, sha256=other.target.sha256)
        for other in known
        if other.uri == goal.uri and other.target.version > goal.target.version
    }
    return sorted(found.values(), key=lambda target: target.version)


def _unknown(value: str, number: int, history: History) -> str:
    if not number:
        return f"{value!r} is no number of a version: give one, such as 3"
    past = next((past for past in history.withdrawn if past.version == number), None)
    remedy = "name it in spec.serving.target, with its sha256"
    if past is not None:
        return f"version {number} was itself rolled back ({past.reason}): to serve it all the same, {remedy}"
    return f"status.rounds knows no version {number} that may be served: {remedy}"


def approved_versions(annotation: str, named: Iterable[int | None]) -> frozenset[int]:
    """The numbers that may reach all replicas: the annotation's and the spec's."""
    return frozenset({_number(annotation), *(number for number in named if number is not None)} - {0})


def _number(text: str) -> int:
    """The number of a version that a text is, 0 where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 0
