"""Which of the two ways draws on a device: Triton's kernel where there is one, torch operations elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol

import torch

from zo_runtime.device.torch_draws import TorchDraws
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import Piece


class Draws(Protocol):
    """Draws certain pieces of directions on a device."""

    def draw(self, method: Method, step: int, direction: int) -> torch.Tensor:
        """The numbers of all pieces, one piece after another, float32."""

    def apply(
        self, values: torch.Tensor, momentum: torch.Tensor | None, run: Sequence[Update], method: Method
    ) -> None:
        """Apply steps of one subspace to the flat B of all pieces, in place: the update of `zo.bank`."""


MakeDraws = Callable[[Sequence[Piece], torch.device], Draws]


def make_draws(pieces: Sequence[Piece], device: torch.device) -> Draws:
    """The faster way that the device has."""
    if device.type == "cuda" and find_spec("triton") is not None:
        from zo_runtime.device.triton_draws import TritonDraws  # noqa: PLC0415 - not everywhere is there a Triton

        return TritonDraws(pieces, device)
    return TorchDraws(pieces, device)
