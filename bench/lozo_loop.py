"""The LOZO and MeZO training loops in Transformers and torch: the other side of the step benchmark.

A step is what the authors' trainers do (optsuite/LOZO on princeton-nlp/MeZO, large_models): draw a seed, add
+eps times the direction to every trained matrix, forward; add -2 eps, forward; add +eps to restore; then draw the
direction again from the seed and update. LOZO's direction is U V^T of rank r, with V drawn again every nu steps;
MeZO's is a full Gaussian matrix. The arithmetic is theirs, term by term, with its temporaries and its weight
decay of zero; `Variant.TUNED` does the same sums in place. Departures, all in the loop's favour or neutral:
- only the adapter's target matrices are trained, as in our runs (theirs: every parameter);
- no Trainer around the step: no data loader, callbacks, logging or learning-rate scheduler;
- bfloat16 (theirs: float16 on a GPU), and SDPA attention instead of the eager one of their day;
- V has its own seed. In their code a step that draws a new V shifts the random stream between the perturbation
  and the update, so that one step in nu goes along another U than the one it measured.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.forward import Variant, batch_loss
from zo_runtime.data.examples import Example

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHT_DECAY = 0.0  # the authors' default; their update computes the term all the same


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step: the two losses in nats, their slope along the direction, and where the seconds went."""

    loss_plus: float
    loss_minus: float
    projected_gradient: float
    seconds: float
    perturb_seconds: float
    forward_seconds: float
    update_seconds: float


class _Loop(ABC):
    """What both loops share: the model, the step and the forward code."""

    def __init__(
        self,
        model_dir: Path,
        *,
        epsilon: float = 1e-3,
        learning_rate: float = 3e-5,
        seed: int = 0,
        threads: int = 2,
        targets: Sequence[str] = LORA_TARGETS,
        variant: Variant = Variant.ONE_SEQUENCE,
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cpu",
        random_weights: bool = False,
    ) -> None:
        """Load the model of `model_dir` and choose the matrices whose layer is named in `targets`.

        With `random_weights` the folder need hold the configuration alone.
        Raises RuntimeError where this process cannot have `threads` intra-op threads (vLLM's CPU worker
        disables `torch.set_num_threads`), ValueError where no matrix matches.
        """
        torch.set_num_threads(threads)
        if torch.get_num_threads() != threads:
            raise RuntimeError(
                f"threads: torch stays at {torch.get_num_threads()}, not {threads}: use a fresh process"
            )
        with torch.device(device):
            if random_weights:
                config = AutoConfig.from_pretrained(str(model_dir))
                model = AutoModelForCausalLM.from_config(config, dtype=dtype)
            else:
                model = AutoModelForCausalLM.from_pretrained(str(model_dir), dtype=dtype)
        self.model = model.eval().requires_grad_(False)
        self._synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        self.epsilon, self.learning_rate, self.variant = epsilon, learning_rate, variant
        wanted = frozenset(targets)
        self.matrices: dict[str, torch.nn.Parameter] = {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if parameter.ndim == 2 and name.split(".")[-2] in wanted
        }
        if not self.matrices:
            raise ValueError(f"targets: no matrix of {model_dir} is named {', '.join(sorted(wanted))}")
        self.parameters = sum(matrix.numel() for matrix in self.matrices.values())
        pad = self.model.config.pad_token_id
        self._pad_token = 0 if pad is None else int(pad)
        self._seeds = random.Random(seed)
        self._step_seed = 0

    def step(self, batch: Sequence[Example]) -> StepResult:
        """Score the batch at +eps and -eps along a fresh direction, restore, and update the weights in place."""
        start = perf_counter()
        with torch.no_grad():
            self._begin_step()
            self._perturb(+1)
            plus_at = perf_counter()
            loss_plus = self.loss(batch)
            back_at = perf_counter()
            self._perturb(-2)
            minus_at = perf_counter()
            loss_minus = self.loss(batch)
            restore_at = perf_counter()
            gradient = (loss_plus - loss_minus) / (2 * self.epsilon)
            self._perturb(+1)
            update_at = perf_counter()
            self._update(gradient)
            self._synchronize()
            end = perf_counter()
        perturb = (plus_at - start) + (minus_at - back_at) + (update_at - restore_at)
        forward = (back_at - plus_at) + (restore_at - minus_at)
        return StepResult(loss_plus, loss_minus, gradient, end - start, perturb, forward, end - update_at)

    def loss(self, batch: Sequence[Example]) -> float:
        """The batch's loss at the weights as they are now, in nats."""
        return batch_loss(self.model, batch, self.variant, self._pad_token)

    def _begin_step(self) -> None:
        self._step_seed = self._seeds.randrange(10**9)

    def _perturb(self, scale: int) -> None:
        """Add scale * eps * direction to every matrix."""
        torch.manual_seed(self._step_seed)
        for name, matrix in self.matrices.items():
            if self.variant is Variant.TUNED:
                self._add_direction(name, matrix, scale * self.epsilon)
            else:
                matrix.data = matrix.data + scale * self._direction(name, matrix) * self.epsilon

    def _update(self, gradient: float) -> None:
        """Step along the same direction, drawn again from the step's seed."""
        torch.manual_seed(self._step_seed)
        for name, matrix in self.matrices.items():
            if self.variant is Variant.TUNED:
                self._add_direction(name, matrix, -self.learning_rate * gradient)
            else:
                slope = gradient * self._direction(name, matrix) + WEIGHT_DECAY * matrix.data
                matrix.data = matrix.data - self.learning_rate * slope

    @abstractmethod
    def _direction(self, name: str, matrix: torch.Tensor) -> torch.Tensor:
        """The matrix's direction (out, in), drawn from torch's global stream."""

    @abstractmethod
    def _add_direction(self, name: str, matrix: torch.Tensor, coefficient: float) -> None:
        """Add `coefficient` times the same direction to the matrix, in place, with no temporary of its size."""


class LozoLoop(_Loop):
    """LOZO: directions U V^T of rank r; V is drawn again every `interval` steps."""

    def __init__(
        self,
        model_dir: Path,
        rank: int = 2,
        interval: int = 50,
        epsilon: float = 1e-3,
        learning_rate: float = 3e-5,
        seed: int = 0,
        threads: int = 2,
        targets: Sequence[str] = LORA_TARGETS,
        variant: Variant = Variant.ONE_SEQUENCE,
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cpu",
        random_weights: bool = False,
    ) -> None:
        """Like the shared loop, with the rank r >= 1 and the interval nu >= 1 of lazy sampling, in steps."""
        super().__init__(
            model_dir,
            epsilon=epsilon,
            learning_rate=learning_rate,
            seed=seed,
            threads=threads,
            targets=targets,
            variant=variant,
            dtype=dtype,
            device=device,
            random_weights=random_weights,
        )
        self.rank, self.interval = rank, interval
        self._steps = 0
        self._v: dict[str, torch.Tensor] = {}

    def _begin_step(self) -> None:
        if self._steps % self.interval == 0:
            torch.manual_seed(self._seeds.randrange(10**9))
            self._v = {n: _randn(m, m.shape[1], self.rank) for n, m in self.matrices.items()}
        self._steps += 1
        super()._begin_step()

    def _direction(self, name: str, matrix: torch.Tensor) -> torch.Tensor:
        return self._u(matrix) @ self._v[name].t()

    def _add_direction(self, name: str, matrix: torch.Tensor, coefficient: float) -> None:
        matrix.addmm_(self._u(matrix), self._v[name].t(), alpha=coefficient)

    def _u(self, matrix: torch.Tensor) -> torch.Tensor:
        return _randn(matrix, matrix.shape[0], self.rank)


class MezoLoop(_Loop):
    """MeZO: directions are full Gaussian matrices, drawn four times a step."""

    def _direction(self, name: str, matrix: torch.Tensor) -> torch.Tensor:
        return torch.normal(mean=0.0, std=1.0, size=tuple(matrix.shape), dtype=matrix.dtype, device=matrix.device)

    def _add_direction(self, name: str, matrix: torch.Tensor, coefficient: float) -> None:
        matrix.add_(self._direction(name, matrix), alpha=coefficient)


def _randn(like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Normal numbers of a matrix's type on its device."""
    return torch.randn(*shape, dtype=like.dtype, device=like.device)
