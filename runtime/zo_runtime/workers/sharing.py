"""Who scores what. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from zo_runtime.data.examples import Example
from zo_runtime.workers.group import Floats, Group


def cost(example: Example) -> int:
    """Tokens that scoring an example at one state runs, about: what a fair share is measured in."""
    return len(example.prompt) + sum(map(len, example.candidates))


def shares(costs: Sequence[int], workers: int) -> list[slice]:
    """Cut a list into one run for each worker, of about equal cost. Some may be empty."""
    sums = list(accumulate(costs, initial=0))
    ends = [bisect_left(sums, -(-sums[-1] * k // workers)) for k in range(workers)]
    ends.append(len(costs))
    return [slice(start, end) for start, end in pairwise(ends)]


def gather_rows(group: Group, mine: Floats, parts: Sequence[slice]) -> Floats:
    """Everybody's rows in order: `mine` [n, columns] are those of `parts[group.rank]`."""
    most = max(part.stop - part.start for part in parts)
    padded = np.zeros((most, mine.shape[1]))
    padded[: len(mine)] = mine
    found = group.gather(padded)
    return np.concatenate([rows[: part.stop - part.start] for rows, part in zip(found, parts, strict=True)])
