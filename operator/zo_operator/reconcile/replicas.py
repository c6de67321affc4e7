"""What serving replicas say, and how each stands to what it should serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zo_runtime.serving.contract import ServedAdapters, State, Target


@dataclass(frozen=True, slots=True)
class Follow:
    """Which pods to ask for which model, and how."""

    namespace: str
    selector: str
    """Label selector, as the API server reads it."""
    port: int
    model: str
    api_key: tuple[str, str] | None = None
    """Name of a Secret and a key in it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is not as it should be."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Served:
    """What a replica said of the model. `target` is what it read last for itself."""

    state: State
    version: int | None = None
    step: int | None = None
    digest: str | None = None
    target: tuple[int, str, int | None] | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod. `problem` says why it could not be asked; without one, `served` is none where the replica knows
    nothing of the model. `host` is its address."""

    pod: str
    served: Served | None = None
    problem: Problem | None = None
    host: str | None = None

    @property
    def answers(self) -> bool:
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Survey:
    """All pods that match, by name. `problem` says why they could not be found or asked at all."""

    follow: Follow
    replicas: tuple[Replica, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """What one replica should serve. `digest` is the bank's, where it is known."""

    target: Target
    digest: str | None = None


Kind = Literal["Updated", "Coming", "Failed", "Missing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one replica stands: `Coming` is on its way, `Failed` answers and has not made it, `Missing` is silent."""

    replica: Replica
    kind: Kind
    problem: Problem | None = None


def relevant(answer: ServedAdapters, model: str) -> Served | None:
    """What an answer says of one model name. Times are left out: they change without anything having changed."""
    found = next((adapter for adapter in answer.adapters if adapter.name == model), None)
    if found is None:
        return None
    target, error = found.target, found.last_error
    return Served(
        state=found.state,
        version=found.version,
        step=found.step,
        digest=found.digest,
        target=None if target is None else (target.version, target.sha256, target.step),
        error=None if error is None else Problem(error.reason, error.message),
    )


def stand(replica: Replica, aim: Aim, model: str, *, late: bool) -> Standing:
    """Compare a replica with what it should serve. `late`: it has had time enough to read what that is."""
    if replica.problem is not None:
        return Standing(replica, "Missing", replica.problem)
    served, wanted = replica.served, aim.target
    if served is None or served.target != (wanted.version, wanted.sha256, wanted.step):
        return _uninformed(replica, model, late=late)
    if served.state == "Failed":
        return Standing(replica, "Failed", served.error or Problem("Failed", "the replica does not say why"))
    if served.state != "Serving" or served.version != wanted.version:
        return Standing(replica, "Coming")
    if aim.digest is not None and served.digest != aim.digest:
        message = f"the replica serves the bank {served.digest}, version {wanted.version} is {aim.digest}"
        return Standing(replica, "Failed", Problem("DigestMismatch", message))
    return Standing(replica, "Updated")


def _uninformed(replica: Replica, model: str, *, late: bool) -> Standing:
    """A replica that has not read the present ConfigMap: Kubernetes takes a minute or two to bring it there."""
    served = replica.served
    # One that read something else before may have failed at that; later, it is what keeps it from the present one.
    if served is not None and served.state == "Failed" and (served.target is None or late):
        return Standing(replica, "Failed", served.error or Problem("Failed", "the replica does not say why"))
    if not late:
        return Standing(replica, "Coming")
    if served is None or served.target is None:
        message = f"the replica has no desired state of {model}: mount the ConfigMap where ZO_DESIRED_STATE says"
        return Standing(replica, "Failed", Problem("NotConfigured", message))
    message = f"the replica still reads version {served.target[0]}: mount the ConfigMap as a folder, without subPath"
    return Standing(replica, "Failed", Problem("StaleDesiredState", message))
