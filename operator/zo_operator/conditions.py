"""The vocabulary of conditions, and how a list of them is kept.

`Ready`, `Reconciling` and `Stalled` follow kstatus, so that `kubectl wait`, Argo CD and Flux read them:

| resource            | Ready   | Reconciling | Stalled | Suspended | Complete |
| ------------------- | ------- | ----------- | ------- | --------- | -------- |
| first sight         | Unknown | True        | False   | False     | False    |
| waiting or running  | Unknown | True        | False   | False     | False    |
| stopping to suspend | Unknown | True        | False   | True      | False    |
| suspended           | False   | False       | False   | True      | False    |
| between two rounds  | True    | False       | False   | False     | False    |
| completed           | True    | False       | False   | -         | True     |
| failed for good     | False   | False       | True    | -         | False    |

All five are always written, and in one patch with `observedGeneration`: none can be stale. A resource with
`spec.serving` has a sixth, `Served`: whether every replica that answers serves what it should. While a version is
on its way to the replicas, the resource is Ready=Unknown and Reconciling=True. One with `spec.schedule` has
`FreshData`: whether there is enough that is new to learn from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from zo_operator.api.status import Condition

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
SUSPENDED = "Suspended"
COMPLETE = "Complete"
SERVED = "Served"
FRESH_DATA = "FreshData"

# Reasons of the operator's own. Those of a finished or failing run come from `zo_runtime.errors`, those of a pod
# that cannot start from Kubernetes (`Unschedulable`, `ImagePullBackOff`, ...).
PENDING = "Pending"
QUEUED = "Queued"
STOPPING_PREVIOUS = "StoppingPreviousPods"
SUSPENDING = "Suspending"
NOT_SUSPENDED = "NotSuspended"
IN_PROGRESS = "InProgress"
NOT_STALLED = "NotStalled"
SETTLED = "Settled"
NOT_COMPLETE = "NotComplete"
INVALID_SPEC = "InvalidSpec"
WAITING = "Waiting"
MAX_ROUNDS = "MaxRoundsReached"

# Reasons of `FreshData`, beside those of a look at the data that failed.
FRESH_RECORDS = "FreshRecords"
NO_FRESH_DATA = "NoFreshData"
TOO_FEW_RECORDS = "TooFewRecords"
NOT_PROBED = "NotProbed"
LEARNING = "Learning"

# Reasons of `Served`.
ALL_REPLICAS = "AllReplicas"
REPLICAS_MISSING = "ReplicasMissing"
REPLICAS_FAILED = "ReplicasFailed"
ROLLING_OUT = "RollingOut"
CANARY = "Canary"
CANARY_FAILED = "CanaryFailed"
CANARY_MISSING = "CanaryMissing"
CHECK_FAILED = "CheckFailed"
CHECK_INCONCLUSIVE = "CheckInconclusive"
AWAITING_APPROVAL = "AwaitingApproval"
NO_VERSION = "NoVersion"
NO_REPLICAS = "NoReplicas"
NOT_OBSERVED = "NotObserved"
# Those that are no trouble.
ORDINARY = frozenset({ALL_REPLICAS, ROLLING_OUT, CANARY, AWAITING_APPROVAL, NO_VERSION, NO_REPLICAS, NOT_OBSERVED})

State = Literal["True", "False", "Unknown"]
Said = tuple[State, str, str]
"""Status, reason and message of one condition."""
Kind = Literal["progressing", "suspending", "suspended", "waiting", "completed", "failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of the resource: its kind of state, with one reason and one sentence."""

    kind: Kind
    reason: str
    message: str


def build(
    verdict: Verdict,
    *,
    suspended: bool,
    generation: int | None,
    old: Iterable[Condition],
    now: str,
    served: Said | None = None,
    fresh: Said | None = None,
) -> list[Condition]:
    """All conditions for a verdict; a transition time moves only where the status does."""
    before = {condition.type: condition for condition in old}
    result = []
    wanted = _states(verdict, suspended=suspended)
    wanted |= {kind: said for kind, said in ((SERVED, served), (FRESH_DATA, fresh)) if said is not None}
    for kind, (state, reason, message) in wanted.items():
        previous = before.get(kind)
        same = previous is not None and previous.status == state
        result.append(
            Condition(
                type=kind,
                status=state,
                observed_generation=generation,
                last_transition_time=previous.last_transition_time if previous and same else now,
                reason=reason,
                message=message[:32768],
            )
        )
    return result


def _states(verdict: Verdict, *, suspended: bool) -> dict[str, Said]:
    said = (verdict.reason, verdict.message)
    progressing = verdict.kind in ("progressing", "suspending")
    ready: dict[Kind, State] = {"completed": "True", "waiting": "True", "failed": "False", "suspended": "False"}
    return {
        READY: (ready.get(verdict.kind, "Unknown"), *said),
        RECONCILING: ("True", *said) if progressing else ("False", SETTLED, ""),
        STALLED: ("True", *said) if verdict.kind == "failed" else ("False", NOT_STALLED, ""),
        SUSPENDED: ("True", SUSPENDED, "spec.suspend is true") if suspended else ("False", NOT_SUSPENDED, ""),
        COMPLETE: (
            ("True", *said)
            if verdict.kind == "completed"
            else ("False", verdict.reason if verdict.kind == "failed" else NOT_COMPLETE, "")
        ),
    }
