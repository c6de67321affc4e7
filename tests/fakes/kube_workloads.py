"""The parts of a cluster that act on Jobs: the Job controller, and a kubelet that a test plays."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import Any

from fakes.kube import FakeKube
from fakes.kube_store import Object, now
from zo_runtime.errors import by_exit_code
from zo_runtime.progress import Progress, Result


@dataclass
class Workloads:
    """Runs Jobs on a fake server: `tick` does what the Job controller would do, the other methods are the node."""

    kube: FakeKube
    progress: dict[str, Progress] = field(default_factory=dict)
    """What each pod's address answers, by URL."""
    hold_termination: bool = False
    """Keep stopped pods for a while, as a pod does that writes its last steps."""
    _count: int = 0
    _finished: dict[str, float] = field(default_factory=dict)

    async def read(self, url: str) -> Progress | None:
        """The progress reader of tests."""
        return self.progress.get(url)

    def tick(self) -> None:
        """Bring every Job closer to what its spec says."""
        for pod in self.kube.store.all("pods"):
            if "deletionTimestamp" in pod["metadata"] and not self.hold_termination:
                self._release(pod)
        for job in list(self.kube.store.all("jobs")):
            self._job(job)
        self.kube.store.collect_garbage()

    def pods(self, job: str | None = None) -> list[Object]:
        """Pods, of one Job or of all, oldest first."""
        found = [
            pod for pod in self.kube.store.all("pods") if job in (None, pod["metadata"]["labels"].get("job-name"))
        ]
        return sorted(found, key=lambda pod: int(pod["metadata"]["name"].rsplit("-", 1)[-1]))

    def start(self, pod: Object, progress: Progress | None = None) -> None:
        """The container runs and answers with that progress."""
        self._count += 1
        ip = f"10.1.{self._count // 250}.{self._count % 250 + 1}"
        state = {"running": {"startedAt": now()}}
        self._status(pod, {"phase": "Running", "podIP": ip, "containerStatuses": [_container(state)]})
        self.report(pod, progress or Progress(phase="Loading"))

    def start_small(self, pod: Object) -> None:
        """The container runs and has no port."""
        state = {"running": {"startedAt": now()}}
        self._status(pod, {"phase": "Running", "containerStatuses": [_container(state)]})

    def report(self, pod: Object, progress: Progress) -> None:
        """The running container answers with another progress."""
        fresh = self._fresh(pod)
        port = fresh["spec"]["containers"][0]["ports"][0]["containerPort"]
        self.progress[f"http://{fresh['status']['podIP']}:{port}/progress"] = progress

    def finish(self, pod: Object, result: Result | str | None = None, code: int = 0, reason: str = "") -> None:
        """The container ends with a code and a termination message."""
        message = result.to_termination_message() if isinstance(result, Result) else result
        ended = {"exitCode": code, "finishedAt": now(), "reason": reason or ("Completed" if code == 0 else "Error")}
        state = {"terminated": ended | ({"message": message} if message else {})}
        phase = "Succeeded" if code == 0 else "Failed"
        self._status(pod, {"phase": phase, "containerStatuses": [_container(state)]})

    def fail(self, pod: Object, code: int, message: str = "it went wrong") -> None:
        """The runtime ends with one of its errors."""
        error = by_exit_code()[code]
        self.finish(pod, Result(ok=False, reason=error.reason, message=message, exit_code=code), code)

    def wait(self, pod: Object, reason: str, message: str) -> None:
        """The container cannot start."""
        state = {"waiting": {"reason": reason, "message": message}}
        self._status(pod, {"phase": "Pending", "containerStatuses": [_container(state)]})

    def evict(self, pod: Object) -> None:
        """The node is drained."""
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        state = {"terminated": {"exitCode": 143, "finishedAt": now(), "reason": "Error"}}
        self._status(pod, {"phase": "Failed", "conditions": [condition], "containerStatuses": [_container(state)]})

    # -- the Job controller

    def _job(self, job: Object) -> None:
        name, status = job["metadata"]["name"], copy.deepcopy(job.get("status") or {})
        if "deletionTimestamp" in job["metadata"]:
            return
        if _ended(status):
            self._expire(job)
            return
        mine = self.pods(name)
        if job["spec"]["suspend"]:
            status.pop("startTime", None)
            _set(status, "Suspended", "True", "JobSuspended")
            for pod in mine:
                if pod["status"].get("phase") not in ("Failed", "Succeeded"):
                    self._stop(pod)
        else:
            if not status.get("startTime"):
                status["startTime"] = now()
                _set(status, "Suspended", "False", "JobResumed")
            self._advance(job, mine, status)
        phases = [pod["status"].get("phase") for pod in self.pods(name)]
        status |= {"active": sum(phase in ("Pending", "Running") for phase in phases)}
        if status != (job.get("status") or {}):
            self.kube.edit("jobs", name, {"status": status}, status=True, namespace=job["metadata"]["namespace"])
        if _ended(status):
            self._finished[job["metadata"]["uid"]] = time.monotonic()

    def _advance(self, job: Object, mine: list[Object], status: Object) -> None:
        spec = job["spec"]
        failed = [pod for pod in mine if pod["status"].get("phase") == "Failed"]
        counted = [pod for pod in failed if _verdict(pod, spec) == "Count"]
        fatal = [pod for pod in failed if _verdict(pod, spec) == "FailJob"]
        done = {_index(pod) for pod in mine if pod["status"].get("phase") == "Succeeded"}
        status |= {"failed": len(counted) + len(fatal), "succeeded": len(done)}
        if fatal:
            self._end(mine, status, "Failed", "PodFailurePolicy", "a pod failed for good")
        elif len(counted) > spec["backoffLimit"]:
            self._end(mine, status, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif len(done) == spec["completions"] or (spec.get("successPolicy") and "0" in done):
            self._end(mine, status, "Complete", "CompletionsReached", "")
        else:
            self._fill(job, mine, done)

    def _fill(self, job: Object, mine: list[Object], done: set[str]) -> None:
        busy = {_index(pod) for pod in mine if pod["status"].get("phase") in ("Pending", "Running")}
        for index in range(job["spec"]["parallelism"]):
            if str(index) not in busy | done:
                self._spawn(job, index)

    def _spawn(self, job: Object, index: int) -> None:
        self._count += 1
        template = job["spec"]["template"]
        reference = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
        }
        self.kube.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{job['metadata']['name']}-{index}-{self._count}",
                    "namespace": job["metadata"]["namespace"],
                    "labels": template["metadata"]["labels"]
                    | {"batch.kubernetes.io/job-completion-index": str(index)},
                    "ownerReferences": [reference | {"controller": True, "blockOwnerDeletion": True}],
                    "finalizers": ["test/kubelet"],
                },
                "spec": copy.deepcopy(template["spec"]),
                "status": {"phase": "Pending"},
            }
        )

    def _end(self, mine: list[Object], status: Object, kind: str, reason: str, message: str) -> None:
        for pod in mine:
            if pod["status"].get("phase") in ("Pending", "Running"):
                self._stop(pod)
        _set(status, kind, "True", reason, message)
        if kind == "Complete":
            status["completionTime"] = now()

    def _expire(self, job: Object) -> None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None and time.monotonic() - self._finished.get(job["metadata"]["uid"], 0.0) >= ttl:
            self.kube.discard("jobs", job["metadata"]["name"], "Foreground", job["metadata"]["namespace"])

    # -- the node

    def _stop(self, pod: Object) -> None:
        self.kube.store.delete("pods", self._fresh(pod), "Background")

    def _release(self, pod: Object) -> None:
        freed = copy.deepcopy(pod)
        freed["metadata"]["finalizers"] = [
            name for name in pod["metadata"].get("finalizers", ()) if name != "test/kubelet"
        ]
        self.kube.store.update("pods", pod, freed)

    def _fresh(self, pod: Object) -> Object:
        meta = pod["metadata"]
        found = self.kube.find("pods", meta["name"], meta["namespace"])
        assert found is not None, f"pod {meta['name']} is gone"
        return found

    def _status(self, pod: Object, status: Object) -> None:
        self.kube.edit(
            "pods", pod["metadata"]["name"], {"status": status}, status=True, namespace=pod["metadata"]["namespace"]
        )


def _container(state: Object) -> Object:
    return {
        "name": "runtime",
        "state": state,
        "image": "x",
        "imageID": "x",
        "ready": "running" in state,
        "restartCount": 0,
    }


def _index(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])


def _ended(status: Object) -> bool:
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions") or ())


def _set(status: Object, kind: str, value: str, reason: str, message: str = "") -> None:
    others = [condition for condition in status.get("conditions") or () if condition["type"] != kind]
    condition = {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": now()}
    status["conditions"] = [*others, condition]


def _verdict(pod: Object, spec: Object) -> str:
    """The pod failure policy's word on a failed pod."""
    if any(c["type"] == "DisruptionTarget" for c in pod["status"].get("conditions") or ()):
        facts: Any = {"disrupted": True}
    else:
        facts = {"disrupted": False}
    code = pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
    for rule in (spec.get("podFailurePolicy") or {}).get("rules", ()):
        if rule.get("onPodConditions") and facts["disrupted"]:
            return str(rule["action"])
        if rule.get("onExitCodes") and code in rule["onExitCodes"]["values"]:
            return str(rule["action"])
    return "Count"
