"""A cluster on its way to its second version, with checks and their answers."""

from datetime import timedelta

from fakes.rollout_cluster import Cluster
from zo_operator.reconcile.observed import Emit
from zo_operator.reconcile.replicas import Problem
from zo_runtime.rounds.check_result import CheckResult

QUERY = {"url": "http://prom:9090", "query": 'e{pod=~"{pods}"}', "max": 0.1, "intervalSeconds": 10, "failureLimit": 2}
ERRORS = {"name": "errors", "prometheus": QUERY, "timeoutSeconds": 100}
ACCURACY = {"name": "accuracy", "heldOut": {"examples": 50, "maxAccuracyDrop": 0.03}, "timeoutSeconds": 100}
GOOD = CheckResult(ok=True, reason="Passed", message="accuracy 0.9, 0.9 in the log", passed=True)
BAD = CheckResult(ok=True, reason="AccuracyDropped", message="accuracy 0.5, 0.9 in the log", passed=False)
AWAY = CheckResult(ok=False, reason="EngineFailed", message="no connection", exit_code=10)
DOWN = Problem("Unreachable", "no connection")


def cluster_of(count=3, *, bake=0, **rollout):
    """A cluster that serves version 1 everywhere."""
    made = Cluster({"canaryReplicas": 1, "bakeSeconds": bake}, behaviours={f"web-{n}": "good" for n in range(count)})
    made.publish()
    made.settle()
    made.rollout |= rollout
    made.prometheus = (0.0,)
    return made


def trying(**rollout):
    """A cluster whose first replica serves version 2."""
    made = cluster_of(**rollout)
    made.publish()
    made.step()
    made.step()
    made.now += timedelta(seconds=2)
    made.step()
    assert made.served["web-0"].version == 2
    assert made.serving()["canaryReadyTime"]
    return made


def wait(cluster, seconds, step=1):
    for _ in range(0, seconds, step):
        cluster.now += timedelta(seconds=step)
        cluster.step()


def versions(cluster):
    return {name: target.version for name, target in cluster.served.items()}


def events(decided):
    return [(action.reason, action.message) for action in decided.actions if isinstance(action, Emit)]


def messages(cluster, kind="Served"):
    return next(c["message"] for c in cluster.status["conditions"] if c["type"] == kind)
