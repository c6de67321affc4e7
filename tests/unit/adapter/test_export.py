"""The exported adapter: right names and numbers, whole or not there, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fixtures.logs import LAYOUT, METHOD, make_row, run_info
from zo_runtime.adapter import export as export_module
from zo_runtime.adapter.export import export_peft, read_adapter
from zo_runtime.errors import InvalidSpec, LogCorrupt, StorageError
from zo_runtime.zo.bank import Bank


def trained(steps: int = 12) -> Bank:
    bank = Bank(LAYOUT, METHOD)
    bank.apply(make_row(t).update() for t in range(1, steps + 1))
    return bank


def delta(folder: Path, tensor: int) -> torch.Tensor:
    """B A of one layer as the files say, in float64."""
    loaded = load_file(folder / "adapter_model.safetensors")
    name = f"base_model.model.{LAYOUT.tensors[tensor].name}"
    a, b = (loaded[f"{name}.lora_{x}.weight"].double() for x in "AB")
    return b @ a


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_files_hold_the_bank(tmp_path: Path, dtype: str) -> None:
    bank, out = trained(), tmp_path / "adapter"
    info = export_peft(bank, run_info(), out, dtype)
    assert (info.step, info.digest, info.rank) == (12, bank.digest(), 4)
    for tensor, shape in enumerate(LAYOUT.tensors):
        wanted = sum(bank.factor(tensor, k).astype(float) @ bank.basis(tensor, k) for k in range(2))
        found = delta(out, tensor).numpy()
        assert found.shape == (shape.out_features, shape.in_features)
        scale = np.abs(wanted).max()
        assert scale > 0
        assert np.abs(found - wanted).max() <= scale * {"float32": 0, "float16": 2**-9, "bfloat16": 2**-6}[dtype]


def test_float16_keeps_the_small_numbers_of_small_learning_rates(tmp_path: Path) -> None:
    """At 1e-7 a step, float16 has no normal numbers; a power of two moves from A to B."""
    bank = trained()
    bank.values *= np.float32(1e-3 / np.abs(bank.values).max() * 1e-3)
    export_peft(bank, run_info(), tmp_path / "a", "float16")
    wanted = sum(bank.factor(0, k).astype(float) @ bank.basis(0, k) for k in range(2))
    error = np.abs(delta(tmp_path / "a", 0).numpy() - wanted).max() / np.abs(wanted).max()
    plain = bank.values.astype(np.float16).astype(np.float32)
    assert error < 2**-9 < np.abs(plain - bank.values).max() / np.abs(bank.values).max()


def test_the_configuration_is_pefts(tmp_path: Path) -> None:
    export_peft(trained(), run_info(), tmp_path / "a")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 4, "LORA")
    assert config["target_modules"] == ["fc1", "q_proj"]
    assert config["base_model_name_or_path"] == "tiny"


def test_two_exports_are_equal(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        export_peft(trained(), run_info(), tmp_path / name)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    assert set(files[0]) == {"adapter_model.safetensors", "adapter_config.json"}


def test_an_adapter_is_replaced_anything_else_is_not(tmp_path: Path) -> None:
    out = tmp_path / "a"
    out.mkdir()
    export_peft(trained(4), run_info(), out)
    assert read_adapter(out).step == 4
    export_peft(trained(8), run_info(), out)
    assert read_adapter(out).step == 8
    assert list(tmp_path.iterdir()) == [out]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(InvalidSpec, match=f"{name} holds something that is no adapter; give an empty or a new"):
            export_peft(trained(), run_info(), tmp_path / name)


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "a"
    export_peft(trained(4), run_info(), out)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "write_tensors", full)
    with pytest.raises(StorageError, match="a: No space left on device; free space or give another folder"):
        export_peft(trained(8), run_info(), out)
    assert read_adapter(out).step == 4
    assert list(tmp_path.iterdir()) == [out]


def test_numbers_too_large_for_the_type_are_named(tmp_path: Path) -> None:
    bank = trained()
    bank.values[:] = 1e6
    with pytest.raises(InvalidSpec, match=r"dtype float16: base_model.*too large for float16; export as float32"):
        export_peft(bank, run_info(), tmp_path / "a", "float16")
    assert list(tmp_path.iterdir()) == []


def test_reading_verifies_every_file(tmp_path: Path) -> None:
    out = tmp_path / "a"
    info = export_peft(trained(), run_info(), out)
    assert read_adapter(out) == info
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        path = out / name
        data = path.read_bytes()
        for position in (0, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            with pytest.raises(LogCorrupt, match=r"is not as it was exported .*; export it again"):
                read_adapter(out)
        path.unlink()
        with pytest.raises(LogCorrupt, match="is not as it was exported"):
            read_adapter(out)
        path.write_bytes(data)
    assert read_adapter(out) == info


def test_the_adapter_names_its_log(tmp_path: Path) -> None:
    from zo_runtime.deltalog.chain import load_run
    from zo_runtime.deltalog.writer import LogWriter
    from zo_runtime.storage.memory import MemoryStore

    store = MemoryStore()
    run = run_info(method=replace(METHOD, momentum=0.9, weight_decay=1e-5))
    LogWriter.open(store, run, data_digest="d").close()
    stored, digest = load_run(store)
    assert export_peft(Bank(LAYOUT, run.method()), stored, tmp_path / "a").run_sha256 == digest
