"""The adapter bank: the trainable state, and the one way to change it.

A `Bank` after some updates is a pure function of the layout, the method and the updates' scalars. Every replica
(trainer, vLLM worker, `zo replay`, serving pod) computes the same bits, and `digest` proves it.

**The update.** Plain: B <- d*B, then B <- B - c_j U_j for each direction in turn, each product exact, each sum
rounded once. With momentum: M <- beta*M, M <- M + c_j U_j in turn; B <- d*B; B <- B - lr*M. d = 1 - lr*decay. Every
product that is not exact is rounded to float32 before it is added (no fused multiply-add). No element depends on
another one, so the steps of one subspace may be applied element by element or step by step, to the same bits.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from zo_runtime.zo import native
from zo_runtime.zo.directions import Stream, basis_stream
from zo_runtime.zo.layout import BankLayout, subspace_of
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import Piece, all_factors, total

Floats = npt.NDArray[np.float32]

# A few milliseconds of drawing: starting threads, and their quarrel over the interpreter, costs up to ten.
_NUMBERS_WORTH_A_THREAD = 2**21


class Bank:
    """B_k of every layer as one float32 array [K, subspace_size], with the momentum of the same shape if any.

    With `pieces`, those alone, one after another [K, total]. `step` is the last update that was applied; 0 at the
    start, when every B_k is zero.
    """

    def __init__(self, layout: BankLayout, method: Method, pieces: Sequence[Piece] | None = None):
        self.pieces = tuple(all_factors(layout) if pieces is None else pieces)
        shape = (layout.subspaces, total(self.pieces))
        self.layout, self.method, self.step = layout, method, 0
        self._table = native.table_of(self.pieces)
        self.values: Floats = np.zeros(shape, np.float32)
        self.momentum: Floats | None = None if method.momentum is None else np.zeros(shape, np.float32)

    def basis(self, tensor: int, subspace: int) -> Floats:
        """A_k (r x in) of one layer."""
        in_features = self.layout.tensors[tensor].in_features
        stream = basis_stream(self.method.seed, tensor, subspace, self.method.distribution)
        return native.draw(stream, self.layout.rank * in_features).reshape(self.layout.rank, in_features)

    def factor(self, tensor: int, subspace: int) -> Floats:
        """B_k (out x r) of one layer, as a view; of a whole bank."""
        start, end = self.layout.offsets[tensor : tensor + 2]
        return self.values[subspace, start:end].reshape(-1, self.layout.rank)

    def direction(self, tensor: int, step: int, direction: int) -> Floats:
        """U (out x r) of one layer."""
        size = self.layout.tensors[tensor].out_features * self.layout.rank
        stream = Stream(self.method.seed, tensor, step, direction, self.method.distribution)
        return native.draw(stream, size).reshape(-1, self.layout.rank)

    def flat_direction(self, step: int, direction: int, threads: int = 1) -> Floats:
        """U of every piece, flat [total]."""
        out = np.empty(self.values.shape[1], np.float32)

        def some(pieces: range) -> None:
            native.draw_pieces(out, self._table, pieces, step, direction, self.method)

        self._share(some, threads, numbers=out.size)
        return out

    def apply(self, updates: Iterable[Update], threads: int = 1) -> None:
        """Apply updates in order of their steps; each must continue from the one before it. Any number of threads,
        same bits: threads share out layers, never the order of additions."""
        for run in runs_of_one_subspace(updates, self.step, self.method.interval, self.method.directions):
            self._apply_run(run, threads)
            self.step = run[-1].step

    def apply_drawn(self, update: Update, directions: Sequence[Floats]) -> None:
        """Apply one update whose directions, as `flat_direction` gives them, are at hand: the bits of `apply`."""
        _require_next(update, self.step, self.method.directions)
        k = subspace_of(update.step, self.method.interval, self.layout.subspaces)
        values, product = self.values[k], np.empty(self.values.shape[1], np.float32)
        momentum = None if self.momentum is None else self.momentum[k]
        if momentum is not None:
            momentum *= np.float32(self.method.momentum)
        values *= np.float32(self.method.kept(update.learning_rate))
        for coefficient, direction in zip(update.coefficients, directions, strict=True):
            if not coefficient:
                continue
            np.multiply(direction, np.float32(coefficient), out=product)
            if momentum is None:
                values -= product
            else:
                momentum += product
        if momentum is not None:
            np.multiply(momentum, np.float32(update.learning_rate), out=product)
            values -= product
        self.step = update.step

    def copy(self) -> Bank:
        """Another bank in the same state."""
        twin = Bank(self.layout, self.method, self.pieces)
        twin.step = self.step
        twin.values[:] = self.values
        if self.momentum is not None and twin.momentum is not None:
            twin.momentum[:] = self.momentum
        return twin

    def digest(self) -> str:
        """SHA-256 of the step, the shapes and the values, momentum included, in a fixed order; of a whole bank."""
        sha = hashlib.sha256(self.layout.digest_header(self.step))
        for array in (self.values, self.momentum):
            if array is not None:
                sha.update(array.astype("<f4", copy=False).tobytes())
        return sha.hexdigest()

    def _apply_run(self, run: list[Update], threads: int) -> None:
        """Apply consecutive updates of one subspace."""
        k = subspace_of(run[0].step, self.method.interval, self.layout.subspaces)
        momentum = None if self.momentum is None else self.momentum[k]
        steps = native.steps_of(run, self.method)

        def some(pieces: range) -> None:
            native.apply(self.values[k], momentum, self._table, pieces, steps, self.method)

        self._share(some, threads, numbers=len(run) * self.values.shape[1])

    def _share(self, work: Callable[[range], None], threads: int, numbers: int) -> None:
        """Do the work of all pieces, which draws `numbers` numbers, on as many threads as that is worth."""
        threads = min(threads, 1 + numbers // _NUMBERS_WORTH_A_THREAD)
        if threads == 1:
            work(range(len(self.pieces)))
            return
        # More shares than threads, of about one size: pieces differ in theirs.
        ends = np.append(self._table[:, 3], self.values.shape[1])
        cuts = np.searchsorted(ends, np.linspace(0, ends[-1], 4 * threads + 1)).tolist()
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, (range(i, j) for i, j in itertools.pairwise(cuts) if i < j)):
                pass


def runs_of_one_subspace(
    updates: Iterable[Update], step: int, interval: int, directions: int
) -> Iterable[list[Update]]:
    """Group successive updates that share a subspace, checking that no step is missing or repeated."""
    run: list[Update] = []
    for update in updates:
        _require_next(update, step, directions)
        if run and (update.step - 1) // interval != (step - 1) // interval:
            yield run
            run = []
        run.append(update)
        step = update.step
    if run:
        yield run


def _require_next(update: Update, step: int, directions: int) -> None:
    if update.previous != step:
        raise ValueError(f"expected the update of step {step + 1}, got step {update.step}")
    if len(update.coefficients) != directions:
        raise ValueError(f"step {update.step} has {len(update.coefficients)} coefficients, not {directions}")
