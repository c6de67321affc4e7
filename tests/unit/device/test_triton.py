"""Triton's kernel without a GPU: interpreted, and compiled for real GPUs, its PTX run and its machine code read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fixtures.ptx import Program
from zo_runtime.device import triton_draws
from zo_runtime.device.bank import DeviceBank
from zo_runtime.device.pieces import Piece, block_table
from zo_runtime.device.triton_code import apply_script
from zo_runtime.device.triton_draws import OPTIONS, TritonDraws, line_of, script
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update

GPUS = [80, 90]
LAYOUT = BankLayout((TensorShape("a.q_proj", 5, 3), TensorShape("a.fc1", 530, 70)), rank=2, subspaces=2)
PLAIN = Method(seed=2**63 + 5, interval=3, directions=1, epsilon=2.0**-10)
HEAVY = Method(2**64 - 1, 3, 3, 2.0**-10, "binomial16", momentum=0.9, weight_decay=0.1)
SIGNS = Method(7, 2, 2, 2.0**-10, "rademacher", weight_decay=0.1)


@pytest.fixture(autouse=True, scope="module")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile anew, and leave nothing in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


def test_interpreted_it_has_the_reference_s_bits() -> None:
    """In a process of its own, for Triton reads the variable when it is imported."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("interpreted.py"))],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout, done.stdout


@cache
def compiled(gpu: int, directions: int, flags: tuple[bool, ...], fusion: bool) -> Any:
    """The kernel as the launcher has it compiled: one direction is a constant then."""
    types = {"values": "*fp32", "momentum": "*fp32", "table": "*i64", "script": "*i32", "steps": "i32"}
    names = ("with_momentum", "with_decay", "rademacher")
    constants: dict[str, Any] = dict(zip(names, flags, strict=True)) | {"blocks": triton_draws.TILES * 16}
    if directions == 1:
        constants["directions"] = 1
    else:
        types["directions"] = "i32"
    source = ASTSource(apply_script, types, constants)
    options = OPTIONS | ({"enable_fp_fusion": True} if fusion else {})
    return triton.compile(source, target=GPUTarget("cuda", gpu, 32), options=options)


class OnPaper:
    """Stands for the kernel in `triton_draws`: compiles it for a GPU as asked and runs the PTX."""

    def __init__(self, gpu: int):
        self.gpu, self.launches = gpu, 0

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        def launch(*arguments: Any, num_warps: int, enable_fp_fusion: bool, blocks: int, **flags: bool) -> None:
            chosen = tuple(flags[name] for name in ("with_momentum", "with_decay", "rademacher"))
            assert {"num_warps": num_warps, "enable_fp_fusion": enable_fp_fusion} == OPTIONS
            program = Program(compiled(self.gpu, arguments[5], chosen, enable_fp_fusion).asm["ptx"])
            assert program.threads == 32 * num_warps
            program.run(grid[0], arguments)
            self.launches += 1

        return launch


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("method", [PLAIN, HEAVY, SIGNS], ids=["plain", "heavy", "signs"])
def test_its_ptx_has_the_reference_s_bits(gpu: int, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_draws, "apply_script", kernel := OnPaper(gpu))
    host, device = Bank(LAYOUT, method), DeviceBank(LAYOUT, method, torch.device("cpu"), TritonDraws)
    rng = np.random.default_rng(gpu)
    rows = rng.normal(size=(8, method.directions)) * 10.0 ** rng.integers(-30, 0, size=(8, 1))
    rows[3, 0] = 0
    updates = [Update(t, 3e-4, tuple(round_coefficient(c) for c in row)) for t, row in enumerate(rows, 1)]
    host.apply(updates)
    device.apply(updates)
    assert kernel.launches == -(-8 // method.interval)  # one for each run of steps in a subspace
    assert device.digest() == host.digest()
    assert np.count_nonzero(host.values) > 1000
    assert device.direction(5, 0).numpy().tobytes() == host.whole_direction(5, 0).tobytes()
    assert device.basis(1, 1).numpy().tobytes() == host.basis(1, 1).tobytes()


def roundings(kernel: Any) -> set[str]:
    """Floating-point instructions of the machine code."""
    return set(re.findall(r"\b(F(?:ADD|MUL|FMA)[.A-Z0-9]*)", kernel.asm["sass"]))


@pytest.mark.parametrize("gpu", GPUS)
def test_machine_code_rounds_each_product_and_flushes_nothing(gpu: int) -> None:
    kernel = compiled(gpu, 3, (True, True, False), False)
    assert roundings(kernel) == {"FADD", "FMUL"}
    assert "fma" not in kernel.asm["ptx"]
    assert ".ftz" not in kernel.asm["ptx"]
    assert kernel.asm["ptx"].count("mul.hi.u32") >= 2 * 9 * 2  # the first round's are partly shared
    assert kernel.metadata.shared == 0


def test_with_fusion_the_checks_would_fail() -> None:
    kernel = compiled(90, 3, (True, True, False), True)
    assert "FFMA" in roundings(kernel)
    numbers, update = torch.zeros(1024), Update(1, 3e-4, (0.5, 0.5, 0.5))
    table = torch.from_numpy(block_table([Piece(0, 0, 1024)], triton_draws.TILES))
    words = torch.from_numpy(script(HEAVY, [line_of(update, HEAVY)]))
    with pytest.raises(NotImplementedError, match=r"mul\.f32 may be contracted"):
        Program(kernel.asm["ptx"]).run(1, [numbers, numbers.clone(), table, words, 1, 3])
