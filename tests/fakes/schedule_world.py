"""A resource with a schedule, its Jobs and its data, for tests of the plan alone: nothing moves but by hand."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from zo_operator import names
from zo_operator.reconcile.observed import Apply, Defaults, Delete, Emit, Observed, Patch, Plan, Resource
from zo_operator.reconcile.plan import plan
from zo_runtime.progress import Result
from zo_runtime.rounds.contract import Fresh, ProbeResult, Verdict

UID = "11111111-2222-3333-4444-555555555555"
DEFAULTS = Defaults("zofinetune/runtime:test")
START = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
BASE = {
    "model": {"name": "m"},
    "data": {"train": {"uri": "s3://data/x"}, "evaluation": {"uri": "s3://data/dev"}},
    "objective": {"classification": {"prompt": "{t}", "labels": {"0": " a", "1": " b"}}},
    "optimizer": {"steps": 100},
    "storage": {"uri": "s3://logs/x"},
}
ACCEPTED = Verdict(accepted=True, reason="Improved")
REJECTED = Verdict(accepted=False, reason="NoImprovement", message="no better")


def sha(version: int) -> str:
    """The hash of a version of the one log there is."""
    return f"{version:064x}"


@dataclass
class ScheduleWorld:
    """`records` is how many are fresh: what concluded rounds have not learned from."""

    schedule: dict[str, Any] | None
    spec: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(BASE))
    annotations: dict[str, str] = field(default_factory=dict)
    now: datetime = START
    records: int = 0
    oldest: datetime | None = None
    status: dict[str, Any] | None = None
    jobs: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)
    pods: list[Any] = field(default_factory=list)
    versions: int = 0
    events: list[tuple[str, str]] = field(default_factory=list)
    orders: list[Any] = field(default_factory=list)
    """`round` of every round's manifest, in the order of their making."""
    made: int = 0

    # -- the operator

    def resource(self) -> Resource:
        meta = {"name": "r", "namespace": "ns", "uid": UID, "generation": 1, "resourceVersion": "7"}
        spec = self.spec | ({"schedule": self.schedule} if self.schedule is not None else {})
        raw = {"metadata": meta | {"annotations": dict(self.annotations)}, "spec": spec}
        return Resource(raw | ({"status": self.status} if self.status else {}))

    def plan(self) -> Plan:
        observed = Observed(
            jobs=tuple(self.jobs.values()),
            pods=tuple(self.pods),
            config_maps=tuple(self.maps.values()),
            services=tuple(self.services.values()),
        )
        decided = plan(self.resource(), observed, self.now, DEFAULTS)
        if decided.refresh:
            decided = plan(self.resource(), replace(observed, live=True), self.now, DEFAULTS)
        assert not decided.refresh
        return decided

    def step(self, *, killed: int | None = None) -> Plan:
        """One reconcile; `killed`: the operator dies after so many actions, before it stores the status."""
        decided = self.plan()
        for action in decided.actions[:killed]:
            self._carry_out(action)
        if killed is None and decided.status is not None:
            self.status = decided.status.to_dict()
        return decided

    def settle(self, limit: int = 10) -> Plan:
        """Reconcile until nothing is left to do."""
        for _ in range(limit):
            before = copy.deepcopy(self.status)
            decided = self.step()
            if not decided.actions and self.status == before:
                return decided
        raise AssertionError(f"no rest: {decided.actions}")

    def wait(self, seconds: float) -> Plan:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        return self.settle()

    def at(self, hour: int, minute: int) -> ScheduleWorld:
        """The same after a first plan, at that time of the day."""
        self.settle()
        self.now = self.now.replace(hour=hour, minute=minute, second=0)
        return self

    # -- the cluster

    def _carry_out(self, action: Any) -> None:
        match action:
            case Apply(body):
                kind, name = body["kind"], body["metadata"]["name"]
                kept = {"Job": self.jobs, "ConfigMap": self.maps, "Service": self.services}[kind]
                fixed = name in kept and kept[name].get("immutable", kind == "Job")
                assert not fixed, f"{kind} {name} is there and cannot be changed"
                self.made += 1
                kept[name] = copy.deepcopy(body)
                kept[name]["metadata"]["uid"] = f"uid-{self.made}"
                if kind == "Job" and self._component(body) == names.COMPONENT_RUNTIME:
                    self.orders.append(yaml.safe_load(self.maps[name]["data"]["zofinetune.yaml"]).get("round"))
            case Delete(kind, name, uid):
                kept = {"Job": self.jobs, "ConfigMap": self.maps}[kind]
                assert kept[name]["metadata"]["uid"] == uid
                del kept[name]
                self.pods = [pod for pod in self.pods if pod["metadata"]["labels"][names.LABEL_JOB] in self.jobs]
            case Patch(_, name, patch):
                self.jobs[name]["spec"] |= {key: value for key, value in patch["spec"].items() if value is not None}
            case Emit(_, reason, message):
                self.events.append((reason, message))

    @staticmethod
    def _component(body: Any) -> str:
        return str(body["metadata"]["labels"][names.LABEL_COMPONENT])

    def going(self, component: str) -> Any:
        """The Job of a component that has not ended."""
        found = [job for job in self.jobs.values() if self._component(job) == component and "status" not in job]
        assert len(found) <= 1, "two Jobs at once"
        return found[0] if found else None

    @property
    def probe(self) -> Any:
        return self.going(names.COMPONENT_PROBE)

    @property
    def round(self) -> Any:
        return self.going(names.COMPONENT_RUNTIME)

    def _end(self, job: Any, *, ok: bool, code: int, message: str) -> None:
        moment = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": "Complete" if ok else "Failed", "status": "True", "reason": "R"}
        job["status"] = {"conditions": [condition | {"lastTransitionTime": moment}], "startTime": moment}
        labels = dict(job["metadata"]["labels"]) | {
            names.LABEL_JOB: job["metadata"]["name"], names.LABEL_INDEX: "0"
        }  # fmt: skip
        ended = {"exitCode": code, "reason": "Completed" if ok else "Error", "message": message, "finishedAt": moment}
        status = {
            "phase": "Succeeded" if ok else "Failed",
            "containerStatuses": [{"name": "runtime", "state": {"terminated": ended}}],
        }
        name = job["metadata"]["name"]
        self.pods.append({"metadata": {"name": name, "uid": f"pod-{name}", "labels": labels}, "status": status})

    def fresh(self) -> Fresh:
        """What a look finds."""
        oldest = (self.oldest or self.now) if self.records else None
        return Fresh(objects=min(self.records, 1), records=self.records, bytes=10 * self.records, oldest=oldest)

    def look(self, fresh: Fresh | None = None, **log: Any) -> None:
        """The look that goes on ends well."""
        result = ProbeResult(ok=True, reason="Completed", fresh=fresh or self.fresh(), **log)
        self._end(self.probe, ok=True, code=0, message=result.model_dump_json(by_alias=True, exclude_none=True))

    def look_fails(self, reason: str = "StorageUnavailable", code: int = 5, message: str = "no bucket") -> None:
        """The look that goes on ends with an error."""
        result = ProbeResult(ok=False, reason=reason, message=message, exit_code=code)
        self._end(self.probe, ok=False, code=code, message=result.model_dump_json(by_alias=True, exclude_none=True))

    def finish(self, verdict: Verdict | None = ACCEPTED) -> None:
        """The round that runs ends, and has learned from all that is fresh."""
        self.versions += 1
        self.records, self.oldest = 0, None
        rejected = verdict is not None and not verdict.accepted
        result = Result(
            ok=True, reason="Rejected" if rejected else "Completed", message=verdict.message if verdict else "",
            steps=100, version=self.versions, version_sha256=sha(self.versions), log_uri="s3://logs/x",
            verdict=verdict,
        )  # fmt: skip
        self._end(self.round, ok=True, code=0, message=result.to_termination_message())

    def fail(self, code: int = 5, reason: str = "StorageUnavailable") -> None:
        """The round that runs fails for good; its data stays fresh."""
        result = Result(ok=False, reason=reason, message="it went wrong", exit_code=code)
        self._end(self.round, ok=False, code=code, message=result.to_termination_message())

    # -- what is seen of it

    def said(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = {c["type"]: c for c in (self.status or {})["conditions"]}
        return found[kind]["status"], found[kind]["reason"]

    @property
    def phase(self) -> str:
        return str((self.status or {})["phase"])

    @property
    def rounds(self) -> list[Any]:
        return list((self.status or {}).get("rounds", ()))

    @property
    def told(self) -> list[str]:
        return [reason for reason, _ in self.events]

    @property
    def plans(self) -> dict[str, Any]:
        """`status.schedule`."""
        return dict((self.status or {})["schedule"])


HOURLY = {"cron": "0 * * * *"}
BY_DATA = {"freshData": {"examples": 500, "probeSeconds": 300}}


def at(hour: int, minute: int = 0, second: int = 0, day: int = 4) -> datetime:
    """A time of the first days."""
    return datetime(2026, 5, day, hour, minute, second, tzinfo=UTC)


def begun(w: ScheduleWorld) -> ScheduleWorld:
    """Let the look that is due find what there is, and the round begin."""
    w.settle()
    w.look()
    w.settle()
    assert w.round is not None
    return w
