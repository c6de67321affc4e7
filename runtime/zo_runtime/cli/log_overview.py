"""What `zo inspect` says of a log: the facts, and their table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from zo_runtime.deltalog.chain import History, Link
from zo_runtime.deltalog.documents import DataList, WriterInfo
from zo_runtime.deltalog.names import data_list_key, is_log_object
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.report.collect import data_lists
from zo_runtime.report.model import RoundLine, Score
from zo_runtime.report.rounds import round_lines
from zo_runtime.units import data_size


@dataclass(frozen=True, slots=True)
class Overview:
    """A log at one moment. `log_bytes` is the size of the log proper: no report, no set-aside records. `lists` holds
    what each round learned from, by number."""

    reader: LogReader
    history: History
    log_bytes: int
    lists: dict[int, DataList]

    @property
    def bytes_per_step(self) -> float | None:
        """Average size of a step in bytes; none before the first."""
        step = self.history.latest.head.step
        return self.log_bytes / step if step else None


def overview(reader: LogReader) -> Overview:
    """Look at a log. Raise `InvalidSpec` where there is none, `LogCorrupt`, `StorageError`."""
    history = reader.history()
    size = sum(info.size for info in reader.store.list() if is_log_object(info.key))
    return Overview(reader, history, size, data_lists(reader, history.versions))


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
        **({"rounds": [_round(view, line) for line in _rounds(view)]} if view.lists else {}),
    }


def _rounds(view: Overview) -> tuple[RoundLine, ...]:
    return round_lines(view.history.versions, view.lists)


def _round(view: Overview, line: RoundLine) -> dict[str, Any]:
    """One round for a script. The objects that it learned from stand in its data list."""
    data = view.lists[line.number]
    mine = [v for v in view.history.versions if v.round == line.number]
    return {
        **data.model_dump(mode="json", by_alias=True, include={"round", "first_step", "base", "served"}),
        "lastStep": mine[-1].last_step,
        "versions": [v.number for v in mine],
        "objects": line.objects,
        "records": line.records,
        "dataList": data_list_key(line.number),
        "verdict": None if line.verdict is None else line.verdict.model_dump(mode="json", by_alias=True),
        "seconds": line.seconds,
        "acceleratorSeconds": line.accelerator_seconds,
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
    if view.lists:
        console.print()
        console.print(_round_table(view))


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


def _round_table(view: Overview) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False, collapse_padding=True, header_style="bold")
    for name in ("round", "from", "steps", "version", "records", "served", "now"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in _rounds(view):
        table.add_row(
            str(line.number),
            "base" if line.base is None else f"{line.base}",
            str(line.steps),
            str(line.version),
            str(line.records),
            _score(line.served),
            _score(line.candidate),
            _verdict(line),
        )
    return table


def _score(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.loss:.4f}" if score.accuracy is None else f"{score.accuracy:.1%}"


def _verdict(line: RoundLine) -> str:
    if line.verdict is None:
        return "none"
    return line.verdict.reason if line.verdict.accepted else f"rejected: {line.verdict.reason}"


def _size(link: Link) -> int:
    """Bytes of a version with its segments and metrics."""
    return link.size + sum(ref.size for ref in (*link.version.segments, *link.version.metrics))


def _describe(writer: WriterInfo) -> str:
    who = f"process {writer.pid} on {writer.host}, writer {writer.epoch} of the run"
    return f"none (last: {who})" if writer.released else who
