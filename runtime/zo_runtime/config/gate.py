"""`spec.gate`: whether what was learned may be served."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zo_runtime.config.base import NonNegativeFloat, PositiveFloat, PositiveInt, SpecModel
from zo_runtime.config.data import Source
from zo_runtime.rounds.contract import Metric


class Regression(SpecModel):
    """Examples that must not be forgotten."""

    source: Source
    """Records that stay the same from round to round, with the fields of the objective."""
    max_loss: PositiveFloat
    """How much worse than the served version the candidate may be on them, in the metric's unit; that it is no
    worse has to be shown at the same significance."""


class Gate(SpecModel):
    """The comparison that a round's last version has to pass: against the version that is served, or else the base
    model, example by example."""

    metric: Metric = "loss"
    """What is compared: `loss` in nats, or `accuracy` from 0 to 1, which only a classification has. Default: loss."""
    min_gain: NonNegativeFloat = 0.0
    """Gain on the held-out data that the candidate has to exceed, in the metric's unit. Default: 0."""
    significance: Annotated[float, Field(ge=0.001, le=0.5, allow_inf_nan=False)] = 0.05
    """Largest probability of letting through a candidate whose true gain is no more than `minGain`, 0.001 to 0.5.
    Default: 0.05."""
    min_examples: PositiveInt = 100
    """With fewer examples, of the held-out data or of the regression set, nothing passes. Default: 100."""
    regression: Regression | None = None
    """A second comparison, on a fixed set. Default: none."""
