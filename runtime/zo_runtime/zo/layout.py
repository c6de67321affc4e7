"""Shapes of the adapter bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Moves B away from float16's subnormal numbers, where learning rates of 1e-7 put it, and A towards them. Both
# factors are powers of two, so their product does not change.
FLOAT16_SHIFT = 2.0**8


@dataclass(frozen=True, slots=True)
class TensorShape:
    """One adapted linear layer, named as in the checkpoint (`model.layers.0.self_attn.q_proj`)."""

    name: str
    out_features: int
    in_features: int


@dataclass(frozen=True, slots=True)
class BankLayout:
    """Every adapted layer, in the order that numbers the tensors, and the size of the subspaces.

    `rank` is r, `subspaces` is K: layer i has K matrices A_k (r x in) and K matrices B_k (out x r).
    """

    tensors: tuple[TensorShape, ...]
    rank: int
    subspaces: int

    @property
    def adapter_rank(self) -> int:
        """Rank K*r of the bank seen as one LoRA adapter."""
        return self.rank * self.subspaces

    @property
    def subspace_size(self) -> int:
        """Numbers in one subspace: the sum of out x r over all layers, which is also the size of a direction."""
        return sum(t.out_features for t in self.tensors) * self.rank

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each layer's B_k starts in a flat subspace, one more than there are layers."""
        ends = [0]
        for tensor in self.tensors:
            ends.append(ends[-1] + tensor.out_features * self.rank)
        return tuple(ends)

    def digest_header(self, step: int) -> bytes:
        """What a bank's digest covers before the numbers: format, step, sizes, names and shapes."""
        lines = [f"zo-bank-1 {step} {self.rank} {self.subspaces}"]
        lines += [f"{t.name} {t.out_features} {t.in_features}" for t in self.tensors]
        return ("\n".join(lines) + "\n").encode()


def subspace_of(step: int, interval: int, subspaces: int) -> int:
    """Index k of the subspace that step `step` >= 1 updates: LoZO's lazy sampling, nu steps at a time."""
    return (step - 1) // interval % subspaces


def select_targets(shapes: Sequence[TensorShape], target_modules: Sequence[str]) -> tuple[TensorShape, ...]:
    """The linear layers whose last name part is among `target_modules`, in the model's own order."""
    wanted = frozenset(target_modules)
    return tuple(s for s in shapes if s.name.rsplit(".", 1)[-1] in wanted)
