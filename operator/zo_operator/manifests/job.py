"""The Indexed Job of a round, and the policy on which failures are worth a retry."""

from __future__ import annotations

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_operator.manifests.pod import CONTAINER, pod_template
from zo_runtime.errors import by_exit_code


def final_exit_codes() -> list[int]:
    """Exit codes after which another try cannot succeed."""
    return sorted(code for code, error in by_exit_code().items() if not error.retryable)


def pod_failure_policy() -> Object:
    """Errors that stay end the Job at once; what the cluster did to a pod does not count.

    A termination with 143 counts: without it, a run that hangs and is restarted by its liveness probe would
    go on for ever. Evictions, preemptions and drains carry the condition `DisruptionTarget`.
    """
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": final_exit_codes()},
            },
        ]
    }


def job(owner: Owner, spec: ZOFineTuneSpec, name: str, image: str) -> Object:
    """The Job as it is made. With a queue it is made suspended, and Kueue decides from then on.

    It has no TTL: the operator sets one when the result is recorded, so that no result is ever lost.
    """
    head = metadata(owner, name)
    if spec.queue_name:
        head["labels"] |= {names.LABEL_QUEUE: spec.queue_name}
    body: Object = {
        "completionMode": "Indexed",
        "completions": spec.runtime.workers,
        "parallelism": spec.runtime.workers,
        "suspend": spec.queue_name is not None,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": pod_failure_policy(),
        **mutable(spec),
        "template": pod_template(owner, spec, name, image),
    }
    if spec.runtime.workers > 1:
        # The leader writes the log: when it is done, so is the round.
        body["successPolicy"] = {"rules": [{"succeededIndexes": "0"}]}
    given = {key: value for key, value in body.items() if value is not None}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": head, "spec": given}


def mutable(spec: ZOFineTuneSpec) -> Object:
    """The fields of a Job's spec that follow the resource while the Job runs; null where there is none."""
    return {"backoffLimit": spec.backoff_limit, "activeDeadlineSeconds": spec.active_deadline_seconds}
