"""Triton's kernel without a GPU: interpreted, and compiled for real ones, its PTX run and its machine code read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.paper_gpu import paper_gpu
from zo_runtime.device import triton_draws
from zo_runtime.device.bank import DeviceBank
from zo_runtime.device.triton_code import apply_script
from zo_runtime.device.triton_draws import TritonDraws
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update

# Ampere, Ada, Hopper, Blackwell.
GPUS = [80, 89, 90, 100]
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


def updates(method: Method, steps: int) -> list[Update]:
    """Made-up steps with coefficients of any size and one zero."""
    rng = np.random.default_rng(steps)
    rows = rng.normal(size=(steps, method.directions)) * 10.0 ** rng.integers(-30, 0, size=(steps, 1))
    rows[steps // 2, 0] = 0
    return [Update(t, 3e-4, tuple(round_coefficient(c) for c in row)) for t, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("method", "capability"),
    [*((HEAVY, gpu) for gpu in GPUS), (PLAIN, 90), (SIGNS, 90)],
    ids=[*(f"heavy-{gpu}" for gpu in GPUS), "plain-90", "signs-90"],
)
def test_its_ptx_has_the_reference_s_bits(method: Method, capability: int) -> None:
    with paper_gpu(capability, apply_script) as gpu:
        host, device = Bank(LAYOUT, method), DeviceBank(LAYOUT, method, torch.device("cpu"), TritonDraws)
        host.apply(updates(method, 8))
        device.apply(updates(method, 8))
        assert gpu.launches == -(-8 // method.interval)  # one for each run of steps in a subspace
        assert device.digest() == host.digest()
        assert np.count_nonzero(host.values) > 1000
        assert device.direction(5, 0).numpy().tobytes() == host.flat_direction(5, 0).tobytes()
        assert device.basis(1, 1).numpy().tobytes() == host.basis(1, 1).tobytes()
        before = len(gpu.compiled())
        device.apply([Update(t, 1e-4, (0.5,) * method.directions) for t in range(9, 30)])
        assert len(gpu.compiled()) == before  # whatever subspace and number of steps


def code_of(capability: int) -> Any:
    """The kernel with momentum and decay, as the launcher has it compiled."""
    with paper_gpu(capability, apply_script) as gpu:
        DeviceBank(LAYOUT, HEAVY, torch.device("cpu"), TritonDraws).apply(updates(HEAVY, 1))
        (kernel,) = gpu.compiled()
        return kernel


def roundings(kernel: Any) -> set[str]:
    """Floating-point instructions of the machine code. Blackwell has some for two numbers at once."""
    return set(re.findall(r"\b(F(?:ADD|MUL|FMA)[.A-Z0-9]*)", kernel.asm["sass"]))


@pytest.mark.parametrize("capability", GPUS)
def test_machine_code_rounds_each_product_and_flushes_nothing(capability: int) -> None:
    kernel = code_of(capability)
    assert {"FADD", "FMUL"} <= roundings(kernel) <= {"FADD", "FMUL", "FADD2", "FMUL2"}
    assert "fma" not in kernel.asm["ptx"]
    assert ".ftz" not in kernel.asm["ptx"]
    assert kernel.asm["ptx"].count("mul.hi.u32") >= 2 * 9 * 2  # the first round's are partly shared
    assert kernel.metadata.shared == 0


def test_with_fusion_the_checks_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(triton_draws.OPTIONS, "enable_fp_fusion", True)
    with paper_gpu(90, apply_script) as gpu:
        with pytest.raises(NotImplementedError, match=r"mul\.f32 may be contracted"):
            DeviceBank(LAYOUT, HEAVY, torch.device("cpu"), TritonDraws).apply(updates(HEAVY, 1))
        (kernel,) = gpu.compiled()
    assert "FFMA" in roundings(kernel)
