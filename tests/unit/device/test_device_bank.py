"""The torch bank, as a GPU runs it, against the native one: the same bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.methods import make_updates, methods
from zo_runtime.device.bank import DeviceBank
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import rows_of_factors
from zo_runtime.zo.shards import assemble

LAYOUT = BankLayout((TensorShape("a.q_proj", 5, 3), TensorShape("a.fc1", 130, 70)), rank=2, subspaces=3)


@settings(max_examples=30)
@given(
    methods,
    st.integers(1, 9),
    st.integers(0, 7),
)
def test_device_bank_has_the_banks_bits(method: Method, steps: int, jump: int) -> None:
    """Also where a round goes on at a step that is `jump` steps later."""
    rng = np.random.default_rng(steps)
    host, device = Bank(LAYOUT, method), DeviceBank(LAYOUT, method, torch.device("cpu"))
    for made in range(1, steps + 1):
        row, step = rng.normal(size=method.directions) * 1e-3, made + (jump if made > steps // 2 else 0)
        after = None if step == host.step + 1 else host.step
        update = Update(step, float(np.float32(3e-4)), tuple(round_coefficient(c) for c in row), after)
        host.apply([update])
        device.apply([update])
        assert device.digest() == host.digest()
    with pytest.raises(ValueError, match="expected the update of step"):
        device.apply([Update(host.step + 2, 1.0, (0.0,) * method.directions)])
    for j in range(method.directions):
        u = host.flat_direction(steps, j)
        assert np.array_equal(device.direction(steps, j).numpy(), u)
        assert np.array_equal(host.direction(1, steps, j).reshape(-1), u[10:])
    for tensor in range(2):
        assert np.array_equal(device.basis(tensor, 2).numpy(), host.basis(tensor, 2))


@settings(max_examples=20)
@given(methods, st.integers(1, 6), st.integers(1, 129))
def test_the_parts_of_two_devices_make_up_the_bank(method: Method, steps: int, cut: int) -> None:
    whole, cpu = Bank(LAYOUT, method), torch.device("cpu")
    rows = ([[(0, 3)], [(0, cut)]], [[(2, 5)], [(cut, 130)]])
    parts = [DeviceBank(LAYOUT, method, cpu, pieces=rows_of_factors(LAYOUT, each)) for each in rows]
    for bank in (whole, *parts):
        bank.apply(make_updates(method, steps))
    assert assemble([part.shard() for part in parts]).digest() == whole.digest()
