"""The little that `plan` and serving replicas share: the resource, one ConfigMap, the Jobs of checks, a clock."""

import copy
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from zo_operator import names
from zo_operator.api.spec import parse_spec
from zo_operator.reconcile.observed import Apply, Defaults, Delete, Observed, Resource
from zo_operator.reconcile.plan import plan
from zo_operator.reconcile.replicas import Problem, Replica, Served, Survey
from zo_operator.reconcile.rounds import round_hash, template_hash
from zo_runtime.serving.contract import DesiredState, target_for

START = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
DEFAULTS = Defaults("zofinetune/runtime:test")
UID = "11111111-2222-3333-4444-555555555555"
DAMAGED = Problem("LogCorrupt", "damaged")
SILENT = Problem("Unreachable", "no connection")
BASE = {
    "model": {"name": "m"},
    "data": {"train": {"uri": "s3://data/x"}},
    "objective": {"classification": {"prompt": "{t}", "labels": {"0": " a", "1": " b"}}},
    "optimizer": {"steps": 100},
    "storage": {"uri": "s3://logs/x", "s3": {"endpoint": "https://s3", "secretRef": "s3", "caSecretRef": "ca"}},
}


def sha256(version):
    return f"{version:04d}".ljust(64, "a")


def is_check(body):
    return body["metadata"]["labels"][names.LABEL_COMPONENT] == names.COMPONENT_CHECK


@dataclass
class Cluster:
    """One resource with its replicas."""

    rollout: dict
    now: datetime = START
    status: dict = field(default_factory=dict)
    stored: dict | None = None
    behaviours: dict = field(default_factory=dict)
    served: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)
    told: list = field(default_factory=list)
    version: int = 0
    target: dict | None = None
    uri: str = "s3://logs/x"
    annotations: dict = field(default_factory=dict)
    objects: dict = field(default_factory=dict)
    """Jobs and ConfigMaps of checks, by kind and name."""
    pods: list = field(default_factory=list)
    prometheus: object = (1.0,)
    """What every query is answered with."""
    asked: list = field(default_factory=list)
    trouble: Problem = DAMAGED

    @property
    def spec(self):
        serving = {"selector": {"app": "vllm"}, "rollout": self.rollout}
        serving |= {"target": self.target} if self.target else {}
        return {**BASE, "storage": {**BASE["storage"], "uri": self.uri}, "serving": serving}

    def publish(self, uri="s3://logs/x"):
        """A round completes with the next version."""
        self.version, self.uri = self.version + 1, uri
        spec = parse_spec(self.spec)
        entry = {
            "number": self.version, "hash": round_hash(spec, ""), "templateHash": template_hash(spec), "job": "j",
            "outcome": "Completed", "version": self.version, "versionSHA256": sha256(self.version), "logURI": uri,
        }  # fmt: skip
        self.status["rounds"] = [entry, *self.status.get("rounds", ())][:10]

    def desired(self):
        return DesiredState.parse(self.stored["data"]["r.json"], "test") if self.stored else None

    def survey(self, follow):
        """The replicas read the ConfigMap and answer."""
        desired, found = self.desired(), []
        for name, behaviour in sorted(self.behaviours.items()):
            if behaviour == "dead":
                found.append(Replica(name, problem=SILENT))
                continue
            if desired is not None:
                self.seen[name] = target_for(desired, name)
                if behaviour == "good":
                    self.served[name] = self.seen[name]
            found.append(Replica(name, self.answer(name), host="10.0.0.1"))
        return Survey(follow, tuple(found))

    def answer(self, name):
        seen, served = self.seen.get(name), self.served.get(name)
        if seen is None:
            return None
        failed = served != seen
        return Served(
            state="Failed" if failed else "Serving",
            version=served.version if served else None,
            target=(seen.version, seen.sha256, seen.step),
            error=self.trouble if failed else None,
        )

    def resource(self):
        meta = {"name": "r", "namespace": "ns", "uid": UID, "generation": 1, "resourceVersion": "7"}
        meta["annotations"] = dict(self.annotations)
        return Resource(copy.deepcopy({"metadata": meta, "spec": self.spec, "status": self.status}))

    def plan(self, survey=None, replies=None, refusal=None):
        maps = (copy.deepcopy(self.stored),) if self.stored else ()
        observed = Observed(
            jobs=self.of("Job"),
            pods=tuple(copy.deepcopy(self.pods)),
            config_maps=(*maps, *self.of("ConfigMap")),
            survey=survey,
            replies=replies or {},
            refusal=refusal,
            live=True,
        )
        return plan(self.resource(), observed, self.now, DEFAULTS)

    def of(self, kind):
        return tuple(copy.deepcopy(body) for (found, _), body in self.objects.items() if found == kind)

    def step(self, asked=True, record=True):
        """One reconcile, with the replicas' present answers or, after a restart of the operator, without. It may die
        before it records the status."""
        decided = self.plan()
        survey = self.survey(decided.follow) if asked and decided.follow else None
        decided = self.plan(survey)
        if asked and decided.ask:
            self.asked += decided.ask
            decided = self.plan(survey, dict.fromkeys(decided.ask, self.prometheus))
        for action in decided.actions:
            self.carry_out(action)
        if record:
            self.status = decided.status.to_dict()
        return decided

    def carry_out(self, action):
        match action:
            case Apply(body) if body["metadata"]["name"] == "r-serving":
                self.stored = copy.deepcopy(body) | {"kind": "ConfigMap"}
                self.stored["metadata"]["uid"] = "config-map"
                self.told.append(self.desired())
            case Apply(body) if is_check(body):
                made = copy.deepcopy(body)
                made["metadata"]["uid"] = f"uid-{body['metadata']['name']}"
                self.objects[body["kind"], body["metadata"]["name"]] = made
            case Delete(_, "r-serving", _):
                self.stored = None
            case Delete(kind, name, _):
                self.objects.pop((kind, name), None)

    def jobs(self):
        """Jobs of checks that have not ended."""
        return [job for job in self.of("Job") if "status" not in job]

    def finish(self, result=None, name=None):
        """The Job ends with that account of its pod, or with none."""
        name = name or self.jobs()[0]["metadata"]["name"]
        good = result is not None and result.ok
        end = {"type": "Complete" if good else "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
        self.objects["Job", name]["status"] = {"conditions": [end]}
        message = result.model_dump_json(by_alias=True) if result is not None else ""
        ended = {"name": "runtime", "state": {"terminated": {"exitCode": 0 if good else 1, "message": message}}}
        meta = {"name": f"{name}-x", "namespace": "ns", "uid": f"pod-{name}", "labels": {names.LABEL_JOB: name}}
        status = {"phase": "Succeeded" if good else "Failed", "containerStatuses": [ended]}
        self.pods.append({"metadata": meta, "status": status})

    def said(self):
        return next((c["status"], c["reason"]) for c in self.status["conditions"] if c["type"] == "Served")

    def outcomes(self):
        """How each round ended, newest first."""
        return {entry["version"]: entry["outcome"] for entry in self.status["rounds"]}

    def serving(self):
        return self.status["serving"]

    def settle(self, steps=12):
        """Reconcile until nothing happens any more, with time going on as the plans ask."""
        for _ in range(steps):
            before = copy.deepcopy(self.status), copy.deepcopy(self.stored)
            decided = self.step()
            if (self.status, self.stored) == before and decided.again is None:
                return decided
            self.now += timedelta(seconds=math.ceil(decided.again or 0))
        raise AssertionError(f"no rest: {self.status['serving']}")
