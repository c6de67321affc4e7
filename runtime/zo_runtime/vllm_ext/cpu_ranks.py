"""Cores for the ranks of a tensor-parallel engine on CPUs.

vLLM gives each rank the cores of one NUMA node, and fails on a machine with fewer nodes than ranks unless it is told
which cores to bind. Here the cores are shared out then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

BIND = "VLLM_CPU_OMP_THREADS_BIND"


def shared_out(cores: Sequence[int], ranks: int) -> str:
    """vLLM's notation for a list of cores for each rank, as equal as they come: `0,1|2,3`. There are enough cores."""
    ends = [len(cores) * rank // ranks for rank in range(ranks + 1)]
    return "|".join(",".join(map(str, cores[start:end])) for start, end in pairwise(ends))


def bind_ranks(ranks: int) -> None:
    """Tell vLLM, before an engine starts, where its ranks run, unless the environment or vLLM itself says."""
    from vllm.utils.cpu_resource_utils import get_allowed_cpu_list, get_visible_memory_node  # noqa: PLC0415

    if ranks > 1 and len(get_visible_memory_node()) < ranks:
        cpus = sorted(get_allowed_cpu_list(), key=lambda cpu: cpu.id)
        # One thread for each core, where there are as many: its siblings share the units that multiply.
        cores = list({cpu.physical_core: cpu.id for cpu in cpus}.values())
        os.environ.setdefault(BIND, shared_out(cores if len(cores) >= ranks else [cpu.id for cpu in cpus], ranks))
