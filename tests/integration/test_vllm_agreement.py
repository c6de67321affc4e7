"""The projected gradient from stock vLLM against plain float32 Transformers, for the same directions.

In float32 the two run the same mathematics; the losses differ by float32 rounding, about 1e-6 each, which division
by 2 eps = 2^-9 turns into at most a few 1e-3.

In bf16 the last rounding alone bounds what agreement can be had. A logit of size L is stored with spacing
s = 2^(floor(log2 L) - 7), an error of s / sqrt(12). A candidate's score adds m tokens (sqrt m), a loss moves with the
difference of two scores (sqrt 2), the mean over n examples divides by sqrt(n), the difference of two losses
multiplies by sqrt 2, and division by 2 eps gives

    sigma = s / sqrt(12) * 2 * sqrt(m) / sqrt(n) / (2 eps).

SmolLM2's label logits lie between 8 and 32, so s is at most 2^-3. The layers before round as well, which the slack
between the largest and the typical spacing covers: the root mean square over the directions must stay below sigma.
Against gradients of several tens that leaves a correlation above 0.9, which is what learning lives from.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TESTS = Path(__file__).parents[1]
EPSILON, EXAMPLES = 2.0**-10, 4


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def agreement(request: pytest.FixtureRequest, smollm2: Path) -> tuple[str, dict[str, Any]]:
    result = subprocess.run(
        [sys.executable, "-m", "fakes.agreement", str(smollm2), request.param],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return request.param, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.vllm
def test_gradients_agree(agreement: tuple[str, dict[str, Any]]) -> None:
    dtype, found = agreement
    for objective in ("single", "several", "completion"):
        ours, plain = (np.array(g) for g in found[objective][:2])
        error = math.sqrt(float(np.mean((ours - plain) ** 2)))
        if dtype == "float32":
            assert error < 5e-2, (objective, ours, plain)
        else:
            tokens = found["tokens"][objective] if objective == "several" else 1  # a completion's loss is a mean
            sigma = 2.0**-3 / math.sqrt(12) * 2 * math.sqrt(tokens / EXAMPLES) / (2 * EPSILON)
            assert error < sigma, (objective, ours, plain)
            assert np.corrcoef(ours, plain)[0, 1] > 0.9, (objective, ours, plain)


@pytest.mark.vllm
def test_losses_at_the_bank_agree(agreement: tuple[str, dict[str, Any]]) -> None:
    dtype, found = agreement
    for objective in ("single", "several", "completion"):
        ours, plain = found[objective][2:]
        assert ours == pytest.approx(plain, abs=1e-4 if dtype == "float32" else 0.1)


@pytest.mark.vllm
def test_banks_are_equal_to_the_last_bit_and_modes_are_the_expected(agreement: tuple[str, dict[str, Any]]) -> None:
    _, found = agreement
    assert found["digests"][0] == found["digests"][1]
    assert found["modes"] == ["last_token", "prompt_logprobs"]
