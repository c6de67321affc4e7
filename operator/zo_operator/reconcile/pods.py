"""What the pods of a round say: which one leads, why one waits, how one failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from zo_operator import names
from zo_operator.api.status import Failure
from zo_operator.manifests.metadata import Object
from zo_operator.manifests.pod import CONTAINER
from zo_operator.reconcile.observed import Leader
from zo_runtime.errors import by_exit_code
from zo_runtime.progress import Result

_MESSAGE_LIMIT = 1024
# Waiting states that are on the way and no trouble.
_ORDINARY_WAITS = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a pod does not run yet, in Kubernetes's words."""

    reason: str
    message: str


def of_job(pods: Iterable[Object], job: str) -> list[Object]:
    """The pods of one Job, oldest first."""
    mine = [pod for pod in pods if pod["metadata"].get("labels", {}).get(names.LABEL_JOB) == job]
    return sorted(mine, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


def phase(pod: Object) -> str:
    """The pod's phase, `Pending` until it has one."""
    return str(pod.get("status", {}).get("phase", "Pending"))


def alive(pod: Object) -> bool:
    """Whether the pod may still write: it has not ended."""
    return phase(pod) not in ("Succeeded", "Failed")


def leader(pods: Iterable[Object]) -> Object | None:
    """The newest pod of completion index 0 among the pods of a Job."""
    return next((pod for pod in reversed(list(pods)) if _index(pod) == "0"), None)


def _index(pod: Object) -> str:
    meta = pod["metadata"]
    return str(
        (meta.get("annotations") or {}).get(names.LABEL_INDEX, (meta.get("labels") or {}).get(names.LABEL_INDEX))
    )


def running(pod: Object | None) -> bool:
    """Whether the pod runs and is not being stopped."""
    return pod is not None and phase(pod) == "Running" and "deletionTimestamp" not in pod["metadata"]


def address(pod: Object | None, port: int) -> Leader | None:
    """Where to ask the pod for its `/progress`, if there is one to ask."""
    if not port or not running(pod) or pod is None:
        return None
    ip = pod.get("status", {}).get("podIP")
    if not ip:
        return None
    host = f"[{ip}]" if ":" in ip else ip
    return Leader(pod["metadata"]["uid"], f"http://{host}:{port}/progress")


def waiting(pods: Iterable[Object]) -> Waiting | None:
    """The first thing that keeps a pod from running and that someone may have to mend."""
    for pod in pods:
        status = pod.get("status", {})
        if phase(pod) != "Pending":
            continue
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                reason = condition.get("reason") or "Unschedulable"
                if reason != "SchedulingGated":
                    return Waiting(reason, _cut(condition.get("message", "")))
        if (held := held_back(pod)) is not None:
            return held
    return None


def held_back(pod: Object) -> Waiting | None:
    """What keeps a container of the pod from starting, be it for the first time or again."""
    status = pod.get("status", {})
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = (container.get("state") or {}).get("waiting") or {}
        if state.get("reason", "") not in _ORDINARY_WAITS:
            return Waiting(state["reason"], _cut(state.get("message", "")))
    return None


def last_line(pod: Object) -> str:
    """The last line of the termination message, where the runtime's own account stands."""
    lines = str((_terminated(pod) or {}).get("message", "")).strip().splitlines()
    return lines[-1] if lines else ""


def result(pod: Object) -> Result | None:
    """The runtime's own account of its end."""
    try:
        return Result.model_validate_json(last_line(pod))
    except ValidationError:
        return None


def final_result(pods: Iterable[Object]) -> Result | None:
    """The newest result of the leader, or else of any pod."""
    ended = [pod for pod in reversed(list(pods)) if not alive(pod)]
    ended.sort(key=lambda pod: _index(pod) != "0")
    return next((found for pod in ended if (found := result(pod)) is not None), None)


def last_failure(pods: Iterable[Object]) -> Failure | None:
    """The pod that failed last, with the real error."""
    failures = [_failure(pod) for pod in pods if phase(pod) == "Failed"]
    return max(failures, key=lambda failure: (failure.time, failure.pod), default=None)


def _failure(pod: Object) -> Failure:
    status, ended, told = pod.get("status", {}), _terminated(pod) or {}, result(pod)
    code = ended.get("exitCode")
    known = by_exit_code().get(code) if isinstance(code, int) else None
    reason = ended.get("reason") or status.get("reason") or "PodFailed"
    if reason in ("Error", "Completed", "PodFailed") and known is not None:
        reason = known.reason
    meaning = f": {(known.__doc__ or '').splitlines()[0]}" if known is not None else ""
    message = ended.get("message") or status.get("message") or f"the container exited with code {code}{meaning}"
    if told is not None:
        reason, message = told.reason, told.message or message
    return Failure(
        pod=pod["metadata"]["name"],
        time=ended.get("finishedAt") or pod["metadata"].get("creationTimestamp", ""),
        exit_code=code,
        reason=reason,
        message=_cut(_last_words(message)),
    )


def _last_words(message: str) -> str:
    """The last line that says something: of a log's tail, that is where the error stands."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return lines[-1] if lines else message


def _terminated(pod: Object) -> Object | None:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    named = next((status for status in statuses if status.get("name") == CONTAINER), None)
    state: Object | None = ((named or {}).get("state") or {}).get("terminated")
    return state


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 3] + "..."


def compact(pod: Object) -> Object:
    """What of a pod is worth keeping in memory."""
    meta, status = pod["metadata"], pod.get("status", {})
    kept = (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "labels",
        "annotations",
        "creationTimestamp",
        "deletionTimestamp",
    )
    wanted = ("phase", "podIP", "reason", "message", "conditions", "containerStatuses", "initContainerStatuses")
    return {
        "metadata": {key: meta[key] for key in kept if key in meta},
        "status": {key: status[key] for key in wanted if key in status},
    }
