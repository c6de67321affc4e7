"""How many fresh records a round takes at least: with fewer, nothing would be left to learn from or to be judged by,
and the round would fail for it."""

from __future__ import annotations

import math

from zo_operator.api.spec import ZOFineTuneSpec

# Records are held out by a hash of what they say. So many standard deviations on the safe side of their mean number.
_SAFETY = 4.0


def fewest_records(spec: ZOFineTuneSpec) -> int:
    """The least number of fresh records that a round may begin with; no more than a round takes at all, so that a
    manifest that can never be satisfied fails with the runtime's own words."""
    data = spec.data
    if data.evaluation is not None:
        return 1
    judged = spec.gate.min_examples if spec.gate is not None else 1
    most = spec.optimizer.steps * spec.optimizer.batch_size
    if data.held_out.examples is not None:
        return min(data.held_out.examples + 1, most + data.held_out.examples)
    share = data.held_out.fraction
    if not 0 < share < 1:
        return 1
    spread = _SAFETY * math.sqrt(1 - share)
    root = (spread + math.sqrt(spread * spread + 4 * judged)) / 2
    needed = math.ceil(root * root / share)
    return min(needed, most, data.max_examples or most)
