"""The files behind adapters and snapshots: read by the public library, equal at every writing, every bit proven."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from safetensors.torch import load_file

from zo_runtime.adapter.tensor_file import Dtype, Tensor, read_metadata, read_tensors, write_tensors

ARRAYS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "a": np.array([1e-6, -3.5], np.float32)}
METADATA = {"format": "pt", "run": "r", "step": "7"}


def write(path: Path, dtype: Dtype = "float32") -> Path:
    tensors = [Tensor(name, array.shape, lambda a=array: a) for name, array in ARRAYS.items()]
    write_tensors(path, tensors, dtype, METADATA)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_public_library_reads_what_torch_would_round(tmp_path: Path, dtype: Dtype) -> None:
    path = write(tmp_path / "t.safetensors", dtype)
    loaded = load_file(path)
    for name, array in ARRAYS.items():
        assert torch.equal(loaded[name], torch.from_numpy(array).to(getattr(torch, dtype)))
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata().items() >= METADATA.items()


@given(nps.arrays(np.float32, 20, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_bfloat16_rounds_as_torch_does(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("t") / "t.safetensors"
    write_tensors(path, [Tensor("x", (20,), lambda: array)], "bfloat16", {})
    assert torch.equal(load_file(path)["x"], torch.from_numpy(array).to(torch.bfloat16))


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "t.safetensors")
    metadata, arrays = read_tensors(path)
    assert metadata.items() >= METADATA.items()
    assert read_metadata(path) == metadata
    assert list(arrays) == ["b", "a"]
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)


def test_two_writings_are_equal(tmp_path: Path) -> None:
    assert write(tmp_path / "1").read_bytes() == write(tmp_path / "2").read_bytes()


def test_any_flipped_bit_and_any_cut_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "t")
    data = path.read_bytes()
    for position in range(len(data)):
        bit = 1 << random.Random(position).randrange(8)
        path.write_bytes(data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :])
        with pytest.raises(ValueError):
            read_metadata(path)
    for length in (0, 4, 8, 50, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError):
            read_tensors(path)


def test_a_file_without_checksum_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(ARRAYS, tmp_path / "t", metadata=METADATA)
    with pytest.raises(ValueError, match="it has no checksum"):
        read_metadata(tmp_path / "t")


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x has numbers too large for float16"):
        write_tensors(tmp_path / "t", [Tensor("x", (1,), lambda: np.array([1e5], np.float32))], "float16", {})
