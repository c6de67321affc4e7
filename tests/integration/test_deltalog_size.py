"""The log's size over 20,000 steps, and that other programs read its tables unaided."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from fixtures.logs import DATA, FakeProcess, make_row, run_info
from zo_runtime.deltalog.documents import Evaluation
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.storage.local import LocalStore
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method

STEPS, EVERY, MOST = 20_000, 1_000, 24.0
METHOD = Method(seed=1, interval=50, directions=1, epsilon=2.0**-10)
# The adapted layers of SmolLM2-135M: run.json names each of them.
SHAPES = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}
LAYOUT = BankLayout(
    tuple(TensorShape(f"model.layers.{i}.{name}", *shape) for i in range(30) for name, shape in SHAPES.items()), 2, 4
)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_twenty_thousand_steps_fit(schedule: str) -> None:
    store = MemoryStore()
    with LogWriter.open(store, run_info(LAYOUT, METHOD), data_digest=DATA, who=FakeProcess("a")) as writer:
        for step in range(1, STEPS + 1):
            writer.append(make_row(step, METHOD, schedule, STEPS))
            if step % 100 == 50:
                writer.flush("0" * 64)
            if step % EVERY == 0:
                evaluation = Evaluation(loss=0.512345678, accuracy=0.7512345678, examples=872)
                writer.publish(evaluation, step * 16, "0" * 64)
        assert writer.total_bytes == sum(info.size for info in store.list())
    sizes: dict[str, int] = {}
    for info in store.list():
        part = info.key.split("/")[0]
        sizes[part] = sizes.get(part, 0) + info.size
    whole = sum(sizes.values())
    print(f"{schedule}: {whole / STEPS:.2f} bytes a step, {(whole - sizes['metrics']) / STEPS:.2f} without metrics;",
          {part: round(size / STEPS, 2) for part, size in sizes.items()})  # fmt: skip
    assert whole / STEPS <= MOST
    assert len(LogReader(store).versions()) == STEPS // EVERY


def test_pandas_and_duckdb_read_the_tables(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    rows = [make_row(step) for step in range(1, 31)]  # two directions
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a")) as writer:
        for row in rows:
            writer.append(row)
            if row.step % 10 == 0:
                writer.publish(None, row.step * 16, "0" * 64)
    frame = pd.concat(pd.read_parquet(path) for path in sorted((tmp_path / "segments").iterdir()))
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "step": "int32",
        "direction": "int8",
        "loss_plus": "float32",
        "loss_minus": "float32",
        "coefficient": "float32",
        "learning_rate": "float32",
        "cursor": "int64",
    }
    assert frame["step"].tolist() == [row.step for row in rows for _ in range(2)]
    assert frame["coefficient"].tolist() == [c for row in rows for c in row.coefficients]
    query = "select step, direction, loss_plus, cursor from read_parquet(?) order by step, direction"
    table = duckdb.sql(query, params=[str(tmp_path / "segments/*.parquet")]).fetchall()
    assert table == [(r.step, j, r.loss_plus[j], r.cursor) for r in rows for j in range(2)]
    query = "select step, step_seconds, tokens from read_parquet(?) order by step"
    table = duckdb.sql(query, params=[str(tmp_path / "metrics/*.parquet")]).fetchall()
    assert table == [(r.step, float(np.float32(r.step_seconds)), r.tokens) for r in rows]
