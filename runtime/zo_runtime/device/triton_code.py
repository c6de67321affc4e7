"""The Triton kernel: draws directions and adds them to the bank, many steps in one launch.

A program owns a run of tiles of one layer (`blocks.block_table`), reads its numbers once, applies every step of the
script to them in registers, and writes them once. A thread has counters of its own, and so all of a tile's numbers
that come from them: number `lane + 16 h` of a tile is half-word h of the tile's block `lane`.

Three things keep the bits. Integers are unsigned and 32 bits wide, where sums and products wrap. No product is
contracted with a sum into one rounding: the launcher compiles with `enable_fp_fusion=False`, and then LLVM writes
`mul.rn` and `add.rn`, which ptxas may not contract, and ptxas is told `--fmad=false` as well. A coefficient of zero
is passed over and not added, for -0 + 0 is 0.
"""

# Triton reads annotations and defaults of this file's functions: no `from __future__ import annotations`.
import triton
import triton.language as tl

from zo_runtime.zo.philox import MULTIPLIERS, ROUNDS, WEYL

M0, M1 = tl.constexpr(MULTIPLIERS[0]), tl.constexpr(MULTIPLIERS[1])
W0, W1 = tl.constexpr(WEYL[0]), tl.constexpr(WEYL[1])
N_ROUNDS = tl.constexpr(ROUNDS)


@triton.jit
def _philox(c0, c1, c2, c3, key0, key1):  # type: ignore[no-untyped-def]
    """Four words of the blocks with these counters."""
    for _ in tl.static_range(N_ROUNDS):
        high0, low0 = tl.umulhi(c0, M0), c0 * M0
        high1, low1 = tl.umulhi(c2, M1), c2 * M1
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = key0 + W0, key1 + W1
    return c0, c1, c2, c3


@triton.jit  # type: ignore[untyped-decorator]
def _levels(word, rademacher: tl.constexpr):  # type: ignore[no-untyped-def]
    """Twice the numbers of a word's two halves, low half first: integers in -8..8, or -2 and 2."""
    if rademacher:
        low = 2 - 4 * (word & 1).to(tl.int32)
        high = 2 - 4 * (word >> 16 & 1).to(tl.int32)
    else:  # two 16-bit population counts side by side in one word
        v = word - (word >> 1 & 0x55555555)
        v = (v & 0x33333333) + (v >> 2 & 0x33333333)
        v = v + (v >> 4) & 0x0F0F0F0F
        v = v + (v >> 8)
        low = (v & 0x1F).to(tl.int32) - 8
        high = (v >> 16 & 0x1F).to(tl.int32) - 8
    return low.to(tl.float32), high.to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _draw(block, tensor, step, direction, key0, key1, rademacher: tl.constexpr):  # type: ignore[no-untyped-def]
    """Twice the eight numbers of each block, in the order of its half-words."""
    same = tl.zeros_like(block)
    w0, w1, w2, w3 = _philox(block, same + tensor, same + step, same + direction, key0, key1)
    a, b = _levels(w0, rademacher)
    c, d = _levels(w1, rademacher)
    e, f = _levels(w2, rademacher)
    g, h = _levels(w3, rademacher)
    return a, b, c, d, e, f, g, h


@triton.jit
def _load(start, at, low, high):  # type: ignore[no-untyped-def]
    """The eight numbers of each block. Those from `low` up to `high` of the run are meant, the others read as 0."""
    return [
        tl.load(start + (at + h), mask=(at + h >= low) & (at + h < high), other=0.0)
        for h in (0, 16, 32, 48, 64, 80, 96, 112)
    ]


@triton.jit
def _store(start, at, low, high, numbers):  # type: ignore[no-untyped-def]
    for h in tl.static_range(8):
        e = at + 16 * h
        tl.store(start + e, numbers[h], mask=(e >= low) & (e < high))


@triton.jit
def _add(numbers, factor, others):  # type: ignore[no-untyped-def]
    """numbers + factor * others, rounded twice."""
    return [numbers[h] + factor * others[h] for h in (0, 1, 2, 3, 4, 5, 6, 7)]


@triton.jit
def _as_float(word):  # type: ignore[no-untyped-def]
    return word.to(tl.float32, bitcast=True)


# Not specialized: every subspace and every number of steps would have the kernel compiled anew.
@triton.jit(do_not_specialize=["values", "momentum", "table", "script", "steps"])  # type: ignore[untyped-decorator]
def apply_script(  # type: ignore[no-untyped-def]
    values, momentum, table, script, steps, directions,
    with_momentum: tl.constexpr, with_decay: tl.constexpr, rademacher: tl.constexpr, blocks: tl.constexpr,
):  # fmt: skip
    """Apply `steps` steps of the script to the numbers of this program's run. The script is 32-bit words: two of the
    key, the first direction's number and beta; then for each step its number, -lr, the decay, and half of what
    multiplies each direction."""
    row = table + tl.program_id(0).to(tl.int64) * 5
    tensor, first = tl.load(row).to(tl.uint32), tl.load(row + 1).to(tl.uint32)
    home, low, high = tl.load(row + 2), tl.load(row + 3).to(tl.int32), tl.load(row + 4).to(tl.int32)
    key0, key1 = tl.load(script).to(tl.uint32, bitcast=True), tl.load(script + 1).to(tl.uint32, bitcast=True)
    first_direction, beta = tl.load(script + 2).to(tl.uint32, bitcast=True), _as_float(tl.load(script + 3))
    index = tl.arange(0, blocks)
    block, at = first + index.to(tl.uint32), index // 16 * 128 + index % 16
    b = _load(values + home, at, low, high)
    m = b
    if with_momentum:
        m = _load(momentum + home, at, low, high)
    line = script + 4
    for _ in range(steps):
        step = tl.load(line).to(tl.uint32, bitcast=True)
        minus_rate, decay = _as_float(tl.load(line + 1)), _as_float(tl.load(line + 2))
        line += 3
        if with_momentum:
            m = [x * beta for x in m]
        if with_decay:
            b = [x * decay for x in b]
        direction = first_direction
        for _ in range(directions):
            half = _as_float(tl.load(line))
            line += 1
            if half != 0:
                u = _draw(block, tensor, step, direction, key0, key1, rademacher)
                if with_momentum:
                    m = _add(m, half, u)
                else:
                    b = _add(b, half, u)
            direction += 1
        if with_momentum:
            b = _add(b, minus_rate, m)
    _store(values + home, at, low, high, b)
    if with_momentum:
        _store(momentum + home, at, low, high, m)
