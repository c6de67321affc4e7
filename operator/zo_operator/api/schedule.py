"""`spec.schedule`: when rounds begin by themselves."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from zo_operator.cron import check_cron, check_zone
from zo_runtime.config.base import NonNegativeInt, PositiveInt, SpecModel

ConcurrencyPolicy = Literal["Forbid", "Replace"]
# The largest history of each kind: a status has to fit into etcd.
LARGEST_HISTORY = 20

HistoryLimit = Annotated[int, Field(le=LARGEST_HISTORY)]

# The patterns are what the API server can see; the validators see the rest, and have a sentence for it.
_CRON = r"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[^ ]+( +[^ ]+){4})$"
_ZONE = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
Cron = Annotated[
    str, Field(min_length=1, max_length=256, json_schema_extra={"pattern": _CRON}), AfterValidator(check_cron)
]
TimeZone = Annotated[
    str, Field(min_length=1, max_length=64, json_schema_extra={"pattern": _ZONE}), AfterValidator(check_zone)
]


class FreshData(SpecModel):
    """How much fresh data begins a round. Fresh is what no concluded round has learned from or been judged by."""

    examples: PositiveInt | None = None
    """Begin a round when so many records are fresh. Give this, `ageSeconds`, or both. Default: any number will do."""
    age_seconds: PositiveInt | None = None
    """Begin a round when the oldest fresh object was written so many seconds ago. Default: age alone begins none."""
    probe_seconds: Annotated[int, Field(ge=10)] = 300
    """Seconds between two looks at the data. Default: 300."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.examples is None and self.age_seconds is None:
            raise ValueError("it says nothing: give `examples`, `ageSeconds` or both")
        return self


class Schedule(SpecModel):
    """When rounds begin. Before each one a small pod looks at the data, and without fresh data none begins."""

    cron: Cron | None = None
    """Begin a round at these times, if any data is fresh: five fields as in a CronJob, or `@daily` and its like.
    Give this, `freshData`, or both. Default: no fixed times."""
    time_zone: TimeZone = "Etc/UTC"
    """Time zone of `cron`, by its name in the IANA database. Default: `Etc/UTC`."""
    starting_deadline_seconds: PositiveInt | None = None
    """Seconds by which a time of `cron` may be late, because a round ran or the operator was away; later than that it
    is missed. Default: the last one is caught up however late it is."""
    concurrency_policy: ConcurrencyPolicy = "Forbid"
    """What happens when a round is due while one runs. `Forbid`: it waits for the end. `Replace`: the one that runs
    stops, its steps stay in the log, and its data is fresh again. Default: Forbid."""
    fresh_data: FreshData | None = None
    """Begin a round when there is so much fresh data. Default: at the times of `cron` only."""
    max_rounds: PositiveInt | None = None
    """Number of the last round that begins by itself; the resource is complete when it has ended. Default: no
    end."""
    skip_round: PositiveInt | None = None
    """Skip the round of this number, be it the one that runs or the next one; its data stays fresh. The annotation
    `zofinetune.io/skip-round` does the same. Default: none."""
    warm_start: bool = True
    """Continue from the version that is served. If false, every round starts anew from the base model. Default:
    true."""
    successful_rounds_history_limit: Annotated[HistoryLimit, Field(ge=1)] = 5
    """Completed rounds that the status keeps. Default: 5."""
    failed_rounds_history_limit: Annotated[NonNegativeInt, Field(le=LARGEST_HISTORY)] = 5
    """Rounds of any other outcome that the status keeps. Default: 5."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.cron is None and self.fresh_data is None:
            raise ValueError("it says nothing: give `cron`, `freshData` or both")
        return self
