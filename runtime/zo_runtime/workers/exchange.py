"""The messages between the leader and its followers, and what each side does for each.

A message is a header [operation, a, b] from the leader, then what the operation says:

    UPDATES  a rows of b numbers   the rows: step, step before, learning rate, coefficients
    SCORE    step a                the leader collects the losses of everybody's items
    JUDGE    set a                 the leader collects losses and hits of everybody's share of that set's examples
    RESET                          nothing: every bank is back at step 0
    DIGEST                         all gather the digests of their banks
    MEET                           nothing: all meet again, for a worker that was missing has come
    CLOSE                          nothing: the run is over
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from zo_runtime.data.examples import Example
from zo_runtime.errors import EngineFailed, InvalidData
from zo_runtime.scoring.protocol import Item, Judged, Part, PartialScorer
from zo_runtime.workers.group import Floats, Group
from zo_runtime.workers.sharing import collect_rows, cost, shares
from zo_runtime.zo.method import Update


class Operation(IntEnum):
    """What a header announces."""

    UPDATES = 1
    SCORE = 2
    JUDGE = 3
    DIGEST = 4
    CLOSE = 5
    RESET = 6
    MEET = 7


def announce(group: Group, operation: Operation, a: int = 0, b: int = 0) -> None:
    """The leader's header."""
    group.broadcast(np.array([operation, a, b], np.float64))


def listen(group: Group) -> tuple[Operation, int, int]:
    """A follower waits for the next header."""
    operation, a, b = (int(value) for value in group.broadcast(np.zeros(3)))
    return Operation(operation), a, b


def to_rows(updates: Sequence[Update], directions: int) -> Floats:
    """Updates as numbers; every step number and float32 is exact in float64."""
    rows = [(u.step, u.previous, u.learning_rate, *u.coefficients) for u in updates]
    return np.array(rows, np.float64).reshape(len(rows), 3 + directions)


def to_updates(rows: Floats) -> list[Update]:
    """The inverse of `to_rows`."""
    return [_update(int(row[0]), int(row[1]), float(row[2]), tuple(row[3:].tolist())) for row in rows]


def _update(step: int, previous: int, learning_rate: float, coefficients: tuple[float, ...]) -> Update:
    return Update(step, learning_rate, coefficients, None if previous == step - 1 else previous)


def score_together(group: Group, scorer: PartialScorer, items: Sequence[Item], step: int) -> Part:
    """Score this worker's share of the items, and collect everybody's: all for the leader, nothing for the others."""
    parts = shares([cost(example) for _, example in items], group.size)
    mine = scorer.score_items(items[parts[group.rank]], step)
    pairs, tokens = collect_rows(group, np.array(mine.pairs, np.float64).reshape(-1, 2), parts, mine.tokens)
    return Part([(plus, minus) for plus, minus in pairs.tolist()], tokens)


def judge_together(group: Group, scorer: PartialScorer, examples: Sequence[Example]) -> list[Judged]:
    """Judge this worker's share of the examples, and collect everybody's: all for the leader, nothing for the others.
    NaN stands for "nothing to choose"."""
    parts = shares([cost(example) for example in examples], group.size)
    judged = scorer.judge(examples[parts[group.rank]])
    mine = [(loss, np.nan if right is None else float(right)) for loss, right in judged]
    rows, _ = collect_rows(group, np.array(mine, np.float64).reshape(-1, 2), parts)
    return [(loss, None if np.isnan(right) else bool(right)) for loss, right in rows.tolist()]


def require_one_bank(group: Group, digest: str) -> None:
    """Raise `EngineFailed` where the workers' banks differ."""
    for rank, other in enumerate(_gather_digests(group, digest)):
        if other != digest:
            raise EngineFailed(
                f"worker {rank} holds the bank {other}, worker {group.rank} {digest}: start the workers again"
            )


def require_one_input(group: Group, fingerprint: str) -> None:
    """Raise `InvalidData` where the workers' data, model or settings differ."""
    for rank, other in enumerate(_gather_digests(group, fingerprint)):
        if other != fingerprint:
            raise InvalidData(
                f"worker {rank} read other data, another model or another manifest than worker {group.rank}: give "
                f"all of them the same"
            )


def _gather_digests(group: Group, digest: str) -> list[str]:
    found = group.gather(np.frombuffer(bytes.fromhex(digest), np.uint8).astype(np.float64))
    return [values.astype(np.uint8).tobytes().hex() for values in found]
