"""The plan: everything that can be said of a manifest before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zo_runtime.config.document import Document
from zo_runtime.planning.devices import Device
from zo_runtime.planning.facts import ModelFacts
from zo_runtime.planning.lengths import Sample
from zo_runtime.planning.log_size import LogSize, log_size
from zo_runtime.planning.memory import Memory, Sizes, memory, slot_bytes
from zo_runtime.planning.roofline import StepTime, counted, step_time
from zo_runtime.planning.wire import Cost, Network, all_reduce, scalar_step
from zo_runtime.planning.work import example_work
from zo_runtime.scoring.vllm import EngineOptions, slot_rank
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method

_SHARDS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """One kind of device, as many of them as the manifest asks for."""

    device: Device
    memory: Memory
    fits_at: int | None
    """The least `tensorParallelSize` whose share of the run a device holds; None above 8."""
    step: StepTime
    exchange_seconds: float
    """Of a step, for what workers send each other."""
    flops: float
    """Floating-point operations of one step in all workers."""
    evaluation_seconds: float | None
    """Of all evaluations; None where their examples were not counted."""
    steps: int
    log: LogSize

    @property
    def fits(self) -> bool:
        """Whether the device holds what it must hold."""
        return holds(self.device, self.memory)

    @property
    def step_seconds(self) -> float:
        """One step of the run."""
        return self.step.total + self.exchange_seconds

    @property
    def hours(self) -> float:
        """Steps and evaluations, without loading the model."""
        return (self.steps * self.step_seconds + (self.evaluation_seconds or 0.0)) / 3600


@dataclass(frozen=True, slots=True)
class Run:
    """What is planned: a manifest, its model, and how many engines (`workers`) of how many devices (`shards`)."""

    document: Document
    facts: ModelFacts
    layout: BankLayout
    method: Method
    sample: Sample
    workers: int = 1
    shards: int = 1

    @property
    def items(self) -> int:
        """Pairs of losses in a step: examples times directions."""
        return self.document.spec.optimizer.batch_size * self.method.directions

    @property
    def evaluations(self) -> int:
        """Evaluations of a run that is not stopped early: before it, every so many steps, and at its end."""
        return 1 + math.ceil(self.document.spec.optimizer.steps / self.document.spec.evaluation.every)

    def sizes(self, shards: int) -> Sizes:
        """How the run fills a device that is one of `shards`. Raise `InvalidSpec` for a bank that no slot holds."""
        longest = self.document.spec.model.max_length
        return Sizes(
            slots=2 * self.method.directions,
            slot_rank=slot_rank(self.layout),
            momentum=self.method.momentum is not None,
            batched_tokens=max(EngineOptions().max_batched_tokens, longest + 1),
            max_length=longest,
            shards=shards,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A run on some kinds of devices."""

    run: Run
    tokens: float
    """Tokens that all steps and evaluations run."""
    exchange: Cost
    """What workers send each other in one step."""
    adapter_gradient: Cost
    """An all-reduce of the gradients of a LoRA adapter of the bank's rank, in the model's type."""
    model_gradient: Cost
    """An all-reduce of the gradients of all weights."""
    devices: tuple[DevicePlan, ...]


def make_plan(run: Run, devices: Sequence[Device]) -> Plan:
    """Plan a run. Raise `InvalidSpec` for a bank that vLLM's slots do not hold."""
    facts, workers = run.facts, run.workers
    exchange = scalar_step(run.items, run.method.directions, workers)
    gradients = slot_bytes(run.layout, run.layout.adapter_rank, facts.value_bytes)
    work = example_work(run.sample.examples, compact=True)
    scored = run.document.spec.optimizer.steps * 2 * run.items + run.evaluations * (run.sample.held_out or 0)
    return Plan(
        run=run,
        tokens=work.tokens * scored,
        exchange=exchange,
        adapter_gradient=all_reduce(gradients, workers),
        model_gradient=all_reduce(facts.parameters * facts.value_bytes, workers),
        devices=tuple(_on(device, run, exchange) for device in devices),
    )


def holds(device: Device, needed: Memory) -> bool:
    """Whether a device holds this much."""
    return needed.total <= device.memory * device.memory_share


def _on(device: Device, run: Run, exchange: Cost) -> DevicePlan:
    facts, layout, sizes = run.facts, run.layout, run.sizes(run.shards)
    one = example_work(run.sample.examples, compact=not device.is_cpu)
    share = one.times(2 * math.ceil(run.items / run.workers))
    step, waiting = step_time(facts, layout, sizes, share, device), exchange.seconds(Network())
    evaluating = None
    if run.sample.held_out is not None:
        judged = one.times(math.ceil(run.sample.held_out / run.workers))
        evaluating = run.evaluations * step_time(facts, layout, sizes, judged, device).total
    needed = {shards: memory(facts, layout, run.sizes(shards), share, device) for shards in {*_SHARDS, run.shards}}
    return DevicePlan(
        device=device,
        memory=needed[run.shards],
        fits_at=next((shards for shards in _SHARDS if holds(device, needed[shards])), None),
        step=step,
        exchange_seconds=waiting,
        flops=counted(facts, layout, sizes, one.times(2 * run.items), device).total,
        evaluation_seconds=evaluating,
        steps=run.document.spec.optimizer.steps,
        log=log_size(run.document, layout, run.method, run.evaluations, step.total + waiting),
    )


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for a script: camelCase; sizes in bytes, times in seconds."""
    run, facts = plan.run, plan.run.facts
    return {
        "name": run.document.metadata.name,
        "model": {
            "name": facts.name,
            "parameters": facts.parameters,
            "quantization": facts.quantization,
            "weightBytes": round(facts.weight_bytes),
        },
        "adapter": {"rank": run.layout.adapter_rank, "layers": len(run.layout.tensors)},
        "lengths": {
            "measured": run.sample.measured,
            "source": run.sample.source,
            "tokensPerExample": round(run.sample.tokens, 2),
            "heldOut": run.sample.held_out,
        },
        "steps": run.document.spec.optimizer.steps,
        "evaluations": run.evaluations,
        "tokens": round(plan.tokens),
        "workers": {
            "count": run.workers,
            "tensorParallelSize": run.shards,
            "bytesPerStep": round(plan.exchange.sent),
            "messagesPerStep": plan.exchange.messages,
            "adapterGradientBytesPerStep": round(plan.adapter_gradient.sent),
            "modelGradientBytesPerStep": round(plan.model_gradient.sent),
        },
        "devices": [_device_json(each) for each in plan.devices],
    }


def _device_json(plan: DevicePlan) -> dict[str, Any]:
    shares = {_camel(name): round(size) for name, size in asdict(plan.memory).items()}
    seconds = {_camel(name): float(f"{value:.4g}") for name, value in asdict(plan.step).items()}
    return {
        "type": plan.device.name,
        "fits": plan.fits,
        "fitsAtTensorParallelSize": plan.fits_at,
        "memory": {**shares, "total": round(plan.memory.total), "device": round(plan.device.memory)},
        "step": {**seconds, "exchange": float(f"{plan.exchange_seconds:.4g}")},
        "stepSeconds": float(f"{plan.step_seconds:.4g}"),
        "stepFlops": float(f"{plan.flops:.4g}"),
        "evaluationSeconds": plan.evaluation_seconds and float(f"{plan.evaluation_seconds:.4g}"),
        "hours": float(f"{plan.hours:.4g}"),
        "log": {
            "bytes": plan.log.stored,
            "bytesPerStep": round(plan.log.bytes_a_step, 2),
            "sentBytes": plan.log.sent,
        },
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
