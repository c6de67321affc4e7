"""Events in words."""

import pytest

from zo_operator.api.status import Condition, Failure, Status
from zo_operator.reconcile.events import events

RUNNING = Condition(
    type="Ready",
    status="Unknown",
    reason="Running",
    last_transition_time="2031-05-05T00:00:00Z",
    observed_generation=1,
)
BROKEN = Failure(
    pod="zo-a-1-0", time="2031-05-05T01:00:00Z", exit_code=6, reason="StorageUnavailable", message="no S3"
)


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        (None, "pod zo-a-1-0 ended with exit code 6: no S3"),
        (2, "pod zo-a-1-0 ended with exit code 6 (failures: 2, 0 allowed): no S3"),
    ],
)
def test_a_pod_that_failed_is_told_with_the_count_that_the_job_has_so_far(counted, said):
    before = Status(phase="Running", conditions=[RUNNING])
    (event,) = events(before, before.model_copy(update={"last_failure": BROKEN, "failures": counted}), None)
    assert (event.type, event.reason, event.message) == ("Warning", "StorageUnavailable", said)
