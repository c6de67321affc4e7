"""A plan as tables for people."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from zo_runtime.planning.plan import DevicePlan, Plan
from zo_runtime.units import data_size, duration


def print_plan(plan: Plan, console: Console, *, parts: bool) -> None:
    """What holds on every device, then a line for each; with `parts`, each one's memory and step taken apart."""
    console.print(_facts(plan))
    console.print()
    console.print(_devices(plan))
    if parts:
        for each in plan.devices:
            console.print()
            console.print(_parts(each))
    if plan.run.sample.held_out is None:
        console.print()
        console.print("hours are without evaluations: the held-out records were not counted", markup=False)


def _facts(plan: Plan) -> Table:
    run, log = plan.run, plan.devices[0].log
    facts, sample, optimizer = run.facts, run.sample, run.document.spec.optimizer
    kind = facts.quantization or ("float32" if facts.value_bytes == 4 else "16-bit")
    lengths = f"{sample.tokens:.1f} tokens an example, measured on {sample.source}"
    if not sample.measured:
        lengths = (
            f"at most {sample.tokens:.0f} tokens an example (spec.model.maxLength), not measured: {sample.source}"
        )
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("model", f"{facts.name}, {facts.parameters:,} parameters, {kind}: {data_size(facts.weight_bytes)}"),
        ("adapter", f"rank {run.layout.adapter_rank}, {len(run.layout.tensors)} layers"),
        ("lengths", lengths),
        ("steps", f"{optimizer.steps:,} of {optimizer.batch_size} examples at {2 * optimizer.directions} states, "
                  f"{run.evaluations} evaluations"),
        ("tokens", f"{plan.tokens:.3g} scored"),
        ("log", f"{data_size(log.stored)}, {log.bytes_a_step:.1f} bytes a step; "
                f"{data_size(log.sent)} sent to the storage"),
        ("workers", _workers(plan)),
    ):  # fmt: skip
        table.add_row(name, value)
    return table


def _workers(plan: Plan) -> str:
    gpus = f", {plan.run.shards} GPUs each" if plan.run.shards > 1 else ""
    if plan.run.workers == 1:
        return f"1{gpus}"
    return (
        f"{plan.run.workers}{gpus}: {data_size(plan.exchange.sent)} a step between them, where the gradients of the "
        f"adapter would take {data_size(plan.adapter_gradient.sent)} and those of the model "
        f"{data_size(plan.model_gradient.sent)}"
    )


def _devices(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="bold")
    for name in ("type", "fits"):
        table.add_column(name, no_wrap=True)
    for name in ("memory", "a step", "reaches", "whole run"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in plan.devices:
        peak = each.device.bf16_flops * plan.run.workers * plan.run.shards
        table.add_row(
            each.device.name,
            "yes" if each.fits else f"on {each.fits_at}" if each.fits_at else "no",
            f"{data_size(each.memory.total)} of {data_size(each.device.memory)}",
            duration(each.step_seconds),
            f"{each.flops / peak / each.step_seconds:.0%}",
            duration(each.hours * 3600) if each.fits else "",
        )
    return table


def _parts(plan: DevicePlan) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="bold", title_justify="left")
    table.add_column(f"{plan.device.name}: memory", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("a step", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    memory = [(name.replace("_", " "), data_size(size)) for name, size in asdict(plan.memory).items()]
    seconds = asdict(plan.step) | {"exchange": plan.exchange_seconds}
    step = [(name, f"{1e3 * value:.2f} ms") for name, value in seconds.items()]
    for left, right in zip(memory, step, strict=True):
        table.add_row(*left, *right)
    return table
