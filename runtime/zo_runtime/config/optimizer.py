"""`spec.optimizer`: the zeroth-order method and its hyperparameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zo_runtime.config.base import NonNegativeFloat, PositiveFloat, PositiveInt, SpecModel

DEFAULT_TARGETS = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "out_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "fc1",
    "fc2",
]


class Momentum(SpecModel):
    """LOZO-M: an exponential average of the projected gradients, kept per subspace."""

    beta: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    """Weight of the past, 0 to below 1."""


class Optimizer(SpecModel):
    """LoZO on a bounded bank of low-rank subspaces."""

    steps: PositiveInt
    """Number of updates in one run."""
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    """Examples scored in each step. Default: 16."""
    learning_rate: PositiveFloat = 3e-5
    """Step size. Default: 3e-5."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over the run: `constant`, or `cosine` down to zero. Default: constant."""
    epsilon: PositiveFloat = 2**-10
    """Size of the perturbation. Rounded to a power of two, which keeps it exact. Default: 2^-10."""
    directions: Annotated[int, Field(ge=1, le=64)] = 1
    """Directions tried in each step; each costs two scores of the batch. Default: 1."""
    rank: Annotated[int, Field(ge=1, le=256)] = 2
    """Rank r of one subspace. Default: 2."""
    subspaces: Annotated[int, Field(ge=1, le=256)] = 4
    """Number K of subspaces in the bank; the adapter has rank K*r. Default: 4."""
    interval: PositiveInt = 50
    """Steps nu that stay in one subspace before the next one takes its turn. Default: 50."""
    distribution: Literal["binomial16", "rademacher"] = "binomial16"
    """Distribution of the directions' entries. Default: binomial16."""
    momentum: Momentum | None = None
    """LOZO-M momentum. Default: none."""
    clip: PositiveFloat | None = None
    """Largest absolute projected gradient; larger ones are cut to it. Default: no clipping."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay of the active subspace, per unit of learning rate. Default: 0."""
    target_modules: Annotated[list[str], Field(min_length=1, max_length=64)] = DEFAULT_TARGETS
    """Last parts of the names of the linear layers to adapt; names that the model lacks are skipped.
    Default: the attention and MLP projections of the common architectures."""
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    """Seed of every direction, 0 to 2^53 - 1: as far as every reader of JSON counts. Default: 0."""


class EarlyStopping(SpecModel):
    """Stop when the held-out loss no longer improves."""

    patience: PositiveInt
    """Evaluations in a row without improvement after which the run stops."""
    min_delta: NonNegativeFloat = 0.0
    """Smallest drop of the held-out loss that counts as improvement. Default: 0."""


class Evaluation(SpecModel):
    """Evaluation on the held-out data, before, during and after the run."""

    every: PositiveInt = 500
    """Steps between evaluations; each one publishes a version. Default: 500."""
    max_examples: PositiveInt | None = None
    """Evaluate on at most this many held-out examples. Default: all."""
    early_stopping: EarlyStopping | None = None
    """Default: run all steps."""
    max_loss_increase: PositiveFloat = 1.0
    """The run counts as diverged when the held-out loss exceeds the loss before training by more than this
    share of it. Default: 1.0, twice the loss."""
