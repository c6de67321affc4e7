"""The adapter bank: the trainable state, and the one function that changes it.

A `Bank` after some updates is a pure function of the layout, the method and the updates' scalars. Every replica
(trainer, vLLM worker, `zo replay`, serving pod) computes the same bits, and `digest` proves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from zo_runtime.zo import native
from zo_runtime.zo.directions import Stream, basis_stream
from zo_runtime.zo.layout import BankLayout, subspace_of
from zo_runtime.zo.method import Method, Update

Floats = npt.NDArray[np.float32]

# A few milliseconds of drawing: starting threads, and their quarrel over the interpreter, costs up to ten.
_NUMBERS_WORTH_A_THREAD = 2**21


class Bank:
    """B_k of every layer as one float32 array [K, subspace_size], with the momentum of the same shape if any.

    `step` is the last update that was applied; 0 at the start, when every B_k is zero.
    """

    def __init__(self, layout: BankLayout, method: Method):
        shape = (layout.subspaces, layout.subspace_size)
        self.layout, self.method, self.step = layout, method, 0
        self.values: Floats = np.zeros(shape, np.float32)
        self.momentum: Floats | None = None if method.momentum is None else np.zeros(shape, np.float32)

    def basis(self, tensor: int, subspace: int) -> Floats:
        """A_k (r x in) of one layer."""
        in_features = self.layout.tensors[tensor].in_features
        stream = basis_stream(self.method.seed, tensor, subspace, self.method.distribution)
        return native.draw(stream, self.layout.rank * in_features).reshape(self.layout.rank, in_features)

    def factor(self, tensor: int, subspace: int) -> Floats:
        """B_k (out x r) of one layer, as a view."""
        start, end = self.layout.offsets[tensor : tensor + 2]
        return self.values[subspace, start:end].reshape(-1, self.layout.rank)

    def direction(self, tensor: int, step: int, direction: int) -> Floats:
        """U (out x r) of one layer."""
        size = self.layout.tensors[tensor].out_features * self.layout.rank
        stream = Stream(self.method.seed, tensor, step, direction, self.method.distribution)
        return native.draw(stream, size).reshape(-1, self.layout.rank)

    def whole_direction(self, step: int, direction: int, threads: int = 1) -> Floats:
        """U of every layer, flat [subspace_size]."""
        out = np.zeros(self.layout.subspace_size, np.float32)
        offsets = self.layout.offsets

        def one(tensor: int) -> None:
            stream = Stream(self.method.seed, tensor, step, direction, self.method.distribution)
            native.add_scaled(out[offsets[tensor] : offsets[tensor + 1]], np.float32(1), stream)

        _each(one, len(self.layout.tensors), threads, numbers=out.size)
        return out

    def apply(self, updates: Iterable[Update], threads: int = 1) -> None:
        """Apply updates in order of their steps; each must continue from the one before it. Any number of threads,
        same bits: threads share out layers, never the order of additions."""
        for run in runs_of_one_subspace(updates, self.step, self.method.interval, self.method.directions):
            self._apply_run(run, threads)
            self.step = run[-1].step

    def copy(self) -> Bank:
        """Another bank in the same state."""
        twin = Bank(self.layout, self.method)
        twin.step = self.step
        twin.values[:] = self.values
        if self.momentum is not None and twin.momentum is not None:
            twin.momentum[:] = self.momentum
        return twin

    def digest(self) -> str:
        """SHA-256 of the step, the shapes and the values, momentum included, in a fixed order."""
        sha = hashlib.sha256(self.layout.digest_header(self.step))
        for array in (self.values, self.momentum):
            if array is not None:
                sha.update(array.astype("<f4", copy=False).tobytes())
        return sha.hexdigest()

    def _apply_run(self, run: list[Update], threads: int) -> None:
        """Apply consecutive updates of one subspace, layer by layer: each layer stays in cache for all of them."""
        k = subspace_of(run[0].step, self.method.interval, self.layout.subspaces)
        offsets = self.layout.offsets

        def one(tensor: int) -> None:
            part = slice(offsets[tensor], offsets[tensor + 1])
            momentum = None if self.momentum is None else self.momentum[k, part]
            for update in run:
                apply_update(self.values[k, part], momentum, tensor, update, self.method)

        _each(one, len(self.layout.tensors), threads, numbers=len(run) * self.layout.subspace_size)


def apply_update(values: Floats, momentum: Floats | None, tensor: int, update: Update, method: Method) -> None:
    """Apply one step to the flat B_k of one layer, in place.

    Plain: B <- d*B, then B <- B - c_j U_j for each direction in turn, each product exact, each sum rounded once.
    Momentum: M <- beta*M, M <- M + c_j U_j in turn; B <- d*B; B <- B - lr*M. d = 1 - lr*decay. Every product
    that is not exact is rounded to float32 before it is added (no fused multiply-add).
    """
    decay = np.float32(1.0 - update.learning_rate * method.weight_decay)
    sign, target = (np.float32(-1), values) if momentum is None else (np.float32(1), momentum)
    if momentum is not None:
        native.scale(momentum, np.float32(method.momentum))
    if method.weight_decay:
        native.scale(values, decay)
    for direction, coefficient in enumerate(update.coefficients):
        if coefficient:
            stream = Stream(method.seed, tensor, update.step, direction, method.distribution)
            native.add_scaled(target, sign * np.float32(coefficient), stream)
    if momentum is not None:
        native.subtract_product(values, np.float32(update.learning_rate), momentum)


def runs_of_one_subspace(
    updates: Iterable[Update], step: int, interval: int, directions: int
) -> Iterable[list[Update]]:
    """Group successive updates that share a subspace, checking that no step is missing or repeated."""
    run: list[Update] = []
    for update in updates:
        if update.previous != step:
            raise ValueError(f"expected the update of step {step + 1}, got step {update.step}")
        if len(update.coefficients) != directions:
            raise ValueError(f"step {update.step} has {len(update.coefficients)} coefficients, not {directions}")
        if run and (update.step - 1) // interval != (step - 1) // interval:
            yield run
            run = []
        run.append(update)
        step = update.step
    if run:
        yield run


def _each(work: Callable[[int], None], count: int, threads: int, numbers: int) -> None:
    """Do every layer's work, which draws `numbers` numbers in all, on as many threads as that is worth."""
    threads = min(threads, 1 + numbers // _NUMBERS_WORTH_A_THREAD)
    if threads == 1:
        for i in range(count):
            work(i)
        return

    def share(first: int) -> None:
        for i in range(first, count, shares):
            work(i)

    shares = 4 * threads  # more than threads, for layers differ in size
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(share, range(shares)):
            pass
