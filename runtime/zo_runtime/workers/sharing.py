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


def collect_rows(group: Group, mine: Floats, parts: Sequence[slice], count: int = 0) -> tuple[Floats, int]:
    """Everybody's rows in order and the sum of their counts, for the leader; no row and 0 for the others.

    `mine` [n, columns] are the rows of `parts[group.rank]`. One message each: the count stands in a row of its own.
    """
    most = max(part.stop - part.start for part in parts)
    message = np.zeros((most + 1, mine.shape[1]))
    message[0, 0] = count
    message[1 : 1 + len(mine)] = mine
    found = group.collect(message)
    if found is None:
        return np.zeros((0, mine.shape[1])), 0
    rows = [each[1 : 1 + part.stop - part.start] for each, part in zip(found, parts, strict=True)]
    return np.concatenate(rows), int(sum(each[0, 0] for each in found))
