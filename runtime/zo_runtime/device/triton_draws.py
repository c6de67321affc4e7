"""Launches the Triton kernel: one launch draws all pieces and applies any number of steps of one subspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from zo_runtime.device.blocks import block_table
from zo_runtime.device.triton_code import apply_script
from zo_runtime.zo.directions import BLOCKS_PER_TILE
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.philox import split_seed
from zo_runtime.zo.pieces import Piece, total

TILES = 8
"""Tiles that one program holds in registers: 1024 numbers."""
OPTIONS = {"num_warps": 2, "enable_fp_fusion": False}
"""How the kernel is compiled. Fusion would take away one of the two roundings that lr * M and its sum have."""


class TritonDraws:
    """`Draws` by Triton's kernel."""

    def __init__(self, pieces: Sequence[Piece], device: torch.device):
        self._size, self._device = total(pieces), device
        self._table = torch.from_numpy(block_table(pieces, TILES)).to(device)

    def draw(self, method: Method, step: int, direction: int) -> torch.Tensor:
        out = torch.zeros(self._size, device=self._device)
        line = (step, 0.0, 1.0, [0.5])
        plain = replace(method, momentum=None, weight_decay=0.0)
        self._launch(out, None, script(plain, [line], direction), 1, 1, plain)
        return out

    def apply(
        self, values: torch.Tensor, momentum: torch.Tensor | None, run: Sequence[Update], method: Method
    ) -> None:
        words = script(method, [line_of(update, method) for update in run])
        self._launch(values, momentum, words, len(run), len(run[0].coefficients), method)

    def _launch(
        self,
        values: torch.Tensor,
        momentum: torch.Tensor | None,
        words: npt.NDArray[np.int32],
        steps: int,
        directions: int,
        method: Method,
    ) -> None:
        with torch.cuda.device_of(values):
            apply_script[(len(self._table),)](
                values,
                values if momentum is None else momentum,
                self._table,
                torch.from_numpy(words).to(self._device),
                steps,
                directions,
                with_momentum=momentum is not None,
                with_decay=method.weight_decay != 0,
                rademacher=method.distribution == "rademacher",
                blocks=TILES * BLOCKS_PER_TILE,
                **OPTIONS,
            )


Line = tuple[int, float, float, Sequence[float]]
"""A step for the kernel: its number, the learning rate, the decay, and half of what multiplies each direction."""


def line_of(update: Update, method: Method) -> Line:
    """An update as the kernel reads it. Half of a coefficient is exact, and so is its product with twice a number."""
    half = 0.5 if method.momentum is not None else -0.5
    kept = method.kept(update.learning_rate)
    return update.step, update.learning_rate, kept, [half * c for c in update.coefficients]


def script(method: Method, lines: Sequence[Line], first_direction: int = 0) -> npt.NDArray[np.int32]:
    """The 32-bit words that `apply_script` reads; numbers are rounded to float32."""
    floats = [word for _, rate, decay, halves in lines for word in (0.0, -rate, decay, *halves)]
    words = np.array([0.0, 0.0, 0.0, method.momentum or 0.0, *floats], np.float32).view(np.uint32)
    words[:3] = *split_seed(method.seed), first_direction
    words[4 :: 3 + len(lines[0][3])] = [step for step, *_ in lines]
    return words.view(np.int32)
