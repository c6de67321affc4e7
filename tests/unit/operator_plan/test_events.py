"""Events in words."""

import pytest

from zo_operator.api.status import Failure, Status
from zo_operator.reconcile.events import events

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
    (event,) = events(Status(phase="Running"), Status(phase="Running", last_failure=BROKEN, failures=counted), None)
    assert (event.type, event.reason, event.message) == ("Warning", "StorageUnavailable", said)
