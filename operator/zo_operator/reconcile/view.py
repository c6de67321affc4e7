"""The children of a resource as its current round sees them."""

from __future__ import annotations

from dataclasses import dataclass

from zo_operator import names
from zo_operator.api.status import Failure, Round
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.observed import Observed
from zo_runtime.progress import Progress, Result


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a Job ended: its final condition."""

    succeeded: bool
    reason: str
    message: str
    time: str


@dataclass(frozen=True, slots=True)
class View:
    """The current round's Job and pods, and what is left of others."""

    job: Object | None
    end: JobEnd | None
    pods: tuple[Object, ...]
    leader: Object | None
    progress: Progress | None
    """What the leader said; what another pod said before it is forgotten."""
    failure: Failure | None
    waiting: podfacts.Waiting | None
    result: Result | None
    other_jobs: tuple[Object, ...]
    blocked: bool
    """Whether something of another Job may still write to the log."""
    stopped: bool
    """Whether no pod of the resource may still write to the log."""

    @property
    def job_deleting(self) -> bool:
        return self.job is not None and "deletionTimestamp" in self.job["metadata"]


def look(current: Round | None, observed: Observed) -> View:
    """Sort the observed objects around the current round; before the first there is none."""
    own = current.job if current is not None else None
    jobs = [job for job in observed.jobs if _component(job) == names.COMPONENT_RUNTIME]
    mine = next((job for job in jobs if job["metadata"]["name"] == own), None)
    others = tuple(job for job in jobs if job["metadata"]["name"] != own)
    pods = tuple(podfacts.of_job(observed.pods, own)) if own is not None else ()
    foreign = [pod for pod in observed.pods if pod not in pods and _component(pod) == names.COMPONENT_RUNTIME]
    leader, reading = podfacts.leader(pods), observed.reading
    return View(
        job=mine,
        end=job_end(mine),
        pods=pods,
        leader=leader,
        progress=reading.progress if reading and leader and reading.pod == leader["metadata"]["uid"] else None,
        failure=podfacts.last_failure(pods),
        waiting=podfacts.waiting(pods),
        result=podfacts.final_result(pods),
        other_jobs=others,
        blocked=any(job_end(job) is None for job in others) or any(map(podfacts.alive, foreign)),
        stopped=not any(map(podfacts.alive, pods)) and not any(map(podfacts.alive, foreign)),
    )


def job_end(job: Object | None) -> JobEnd | None:
    """The final condition of a Job, once all its pods have ended."""
    for condition in (job or {}).get("status", {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            succeeded = condition["type"] == "Complete"
            return JobEnd(
                succeeded=succeeded,
                reason=condition.get("reason") or ("Completed" if succeeded else "JobFailed"),
                message=condition.get("message") or "",
                time=condition.get("lastTransitionTime") or "",
            )
    return None


def failed_pods(job: Object | None) -> int:
    """Failures of the Job that count towards its limit."""
    return int((job or {}).get("status", {}).get("failed") or 0)


def is_suspended(job: Object | None) -> bool:
    """Whether the Job is held."""
    return bool((job or {}).get("spec", {}).get("suspend"))


def _component(child: Object) -> str:
    return str((child["metadata"].get("labels") or {}).get(names.LABEL_COMPONENT, ""))
