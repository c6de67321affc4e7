"""What `zo inspect` says of a log: the facts, and their table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from zo_runtime.deltalog.chain import History, Link
from zo_runtime.deltalog.documents import WriterInfo
from zo_runtime.deltalog.names import is_log_object
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.units import data_size


@dataclass(frozen=True, slots=True)
class Overview:
    """A log at one moment. `log_bytes` is the size of the log proper: no report, no set-aside records."""

    reader: LogReader
    history: History
    log_bytes: int

    @property
    def bytes_per_step(self) -> float | None:
        """Average size of a step in bytes; none before the first."""
        step = self.history.latest.head.step
        return self.log_bytes / step if step else None


def overview(reader: LogReader) -> Overview:
    """Look at a log. Raise `InvalidSpec` where there is none, `LogCorrupt`, `StorageError`."""
    history = reader.history()
    size = sum(info.size for info in reader.store.list() if is_log_object(info.key))
    return Overview(reader, history, size)


def as_json(view: Overview) -> dict[str, Any]:
    """Everything, for a script: camelCase, sizes in bytes."""
    run, latest = view.reader.run, view.history.latest
    description = run.model_dump(mode="json", by_alias=True, exclude={"tensors"})
    return {
        "uri": view.reader.store.uri,
        "run": {**description, "adaptedLayers": len(run.tensors), "adapterRank": run.layout().adapter_rank},
        "step": latest.head.step,
        "digest": latest.head.digest,
        "dataDigest": latest.head.data_digest,
        "bytes": view.log_bytes,
        "bytesPerStep": view.bytes_per_step,
        "writer": latest.writer.model_dump(mode="json", by_alias=True),
        "versions": [
            {
                **link.version.model_dump(mode="json", by_alias=True, exclude={"segments", "metrics", "run"}),
                "sha256": link.sha256,
                "bytes": _size(link),
            }
            for link in view.history.links
        ],
    }


def print_table(view: Overview, console: Console) -> None:
    """The same for people."""
    run, head = view.reader.run, view.history.latest.head
    model, method = run.model, run.method_fields
    facts = Table.grid(padding=(0, 2))
    size = data_size(view.log_bytes)
    per_step = "" if view.bytes_per_step is None else f", {view.bytes_per_step:.1f} bytes a step"
    for name, value in (
        ("run", f"{run.name}, begun {run.created:%Y-%m-%d %H:%M:%S %Z}"),
        ("log", f"{view.reader.store.uri}  ({size}{per_step})"),
        ("model", f"{model.name} ({model.dtype}, digest {model.digest[:12]})"),
        ("adapter", f"rank {run.layout().adapter_rank} = {run.subspaces} subspaces of rank {run.rank}, "
                    f"{len(run.tensors)} layers"),
        ("method", f"seed {method.seed}, {method.directions} directions a step, epsilon {method.epsilon:.3g}"),
        ("step", f"{head.step}, digest {head.digest[:12]}"),
        ("writer", _describe(view.history.latest.writer)),
    ):  # fmt: skip
        facts.add_row(name, value)
    console.print(facts)
    if view.history.links:
        console.print()
        console.print(_versions(view.history))


def _versions(history: History) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False, collapse_padding=True, header_style="bold")
    for name in ("version", "step", "loss", "accuracy", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("digest", "published"):
        table.add_column(name, no_wrap=True)
    for link in history.links:
        version, evaluation = link.version, link.version.evaluation
        table.add_row(
            str(version.number),
            str(version.last_step),
            f"{evaluation.loss:.4f}" if evaluation else "",
            f"{evaluation.accuracy:.1%}" if evaluation and evaluation.accuracy is not None else "",
            data_size(_size(link)),
            version.digest[:12],
            f"{version.created:%Y-%m-%d %H:%M}",
        )
    return table


def _size(link: Link) -> int:
    """Bytes of a version with its segments and metrics."""
    return link.size + sum(ref.size for ref in (*link.version.segments, *link.version.metrics))


def _describe(writer: WriterInfo) -> str:
    who = f"process {writer.pid} on {writer.host}, writer {writer.epoch} of the run"
    return f"none (last: {who})" if writer.released else who
