"""The charts of a report: which series stand in each, and what is said of them in words."""

from __future__ import annotations

import numpy as np

from zo_runtime.report.model import Column, ReportData
from zo_runtime.report.round_chart import round_chart
from zo_runtime.report.scales import widened
from zo_runtime.report.series import moving_average, smoothing_window, thin, usual_range
from zo_runtime.report.svg import Chart, Layer

TRAINING, HELD_OUT = 1, 2


def charts(data: ReportData) -> list[Chart]:
    """The charts that this run has points for: rounds, accuracy, loss, projected gradient, step time."""
    drawn = [round_chart(data.rounds), accuracy_chart(data), loss_chart(data), gradient_chart(data), time_chart(data)]
    return [chart for chart in drawn if chart is not None]


def accuracy_chart(data: ReportData) -> Chart | None:
    """Held-out accuracy at each evaluation, with the accuracy before training as a rule."""
    points = [(e.step, e.accuracy) for e in data.evaluations if e.accuracy is not None]
    if not points:
        return None
    x, y = _columns(points)
    layers = [Layer("held-out accuracy", "marks", HELD_OUT, x, y)]
    if len(y) > 1:
        layers.insert(0, Layer("before training", "rule", TRAINING, x[:1], y[:1]))
    low, high = widened(float(y.min()), float(y.max()), 0.12)
    return Chart(
        key="accuracy",
        title="Held-out accuracy",
        description=f"From {y[0]:.1%} at step {x[0]:,.0f} to {y[-1]:.1%} at step {x[-1]:,.0f}; best {y.max():.1%}.",
        y_label="accuracy",
        unit="percent",
        layers=tuple(layers),
        x_range=_steps(data),
        y_range=(max(0.0, low), min(1.0, high)) if low < 1 and high > 0 else (0.0, 1.0),
    )


def loss_chart(data: ReportData) -> Chart | None:
    """Training loss of each step with its moving average, and the held-out loss."""
    layers = _noisy(data.steps.step, data.steps.loss, "training loss")
    held_out = [(e.step, e.loss) for e in data.evaluations if np.isfinite(e.loss)]
    if held_out:
        layers.append(Layer("held-out loss", "marks", HELD_OUT, *_columns(held_out)))
    said = f"Held-out loss from {held_out[0][1]:.3f} to {held_out[-1][1]:.3f}." if held_out else _trend(layers)
    return _chart(data, "loss", "Loss", said, "loss (nats)", layers, data.steps.loss)


def gradient_chart(data: ReportData) -> Chart | None:
    """Projected gradient of each step: noise around a mean that shows whether there is still a slope."""
    values = data.steps.projected_gradient
    layers = _noisy(data.steps.step, values, "projected gradient")
    said = "Loss difference along the direction of each step, over twice epsilon."
    return _chart(data, "gradient", "Projected gradient", said, "projected gradient", layers, values)


def time_chart(data: ReportData) -> Chart | None:
    """Time of each step, with the median: a mean would follow the few slow steps."""
    values = data.steps.seconds
    finite = np.isfinite(values)
    if not finite.any():
        return None
    median = np.median(values[finite], keepdims=True)
    layers = [
        Layer("step time", "dots", TRAINING, *thin(data.steps.step, values)),
        Layer("median", "rule", TRAINING, data.steps.step[:1], median),
    ]
    said = f"Median {median[0]:.3g} seconds a step."
    return _chart(data, "time", "Step time", said, "seconds", layers, values, floor=0.0)


def _noisy(x: Column, y: Column, label: str) -> list[Layer]:
    """Raw values as dots, under their moving average where there are enough for one."""
    if not np.isfinite(y).any():
        return []
    layers = [Layer(label, "dots", TRAINING, *thin(x, y))]
    window = smoothing_window(len(y))
    if len(y) > window:
        layers.append(Layer(f"mean of {window} steps", "line", TRAINING, *thin(x, moving_average(y, window))))
    return layers


def _chart(
    data: ReportData,
    key: str,
    title: str,
    said: str,
    y_label: str,
    layers: list[Layer],
    values: Column,
    floor: float | None = None,
) -> Chart | None:
    """A chart of `layers`, or none without any; `values` are the raw ones of every step."""
    if not layers:
        return None
    low, high = _y_range(layers)
    low = low if floor is None else floor
    return Chart(
        key=key,
        title=title,
        description=said,
        y_label=y_label,
        unit="number",
        layers=tuple(layers),
        x_range=_steps(data),
        y_range=(low, high),
        note=_beyond(values, low, high),
    )


def _y_range(layers: list[Layer]) -> tuple[float, float]:
    """All of the lines and marks, and the dots but for far outliers."""
    ranges = [
        usual_range(layer.y) if layer.shape == "dots" else (float(layer.y.min()), float(layer.y.max()))
        for layer in layers
    ]
    return widened(min(low for low, _ in ranges), max(high for _, high in ranges))


def _beyond(values: Column, low: float, high: float) -> str:
    """A sentence about the values that the axis leaves out."""
    finite = values[np.isfinite(values)]
    outside = finite[(finite < low) | (finite > high)]
    missing = len(values) - len(finite)
    said = []
    if len(outside):
        farthest = f"{outside[np.abs(outside).argmax()]:.4g}".replace("-", "\u2212")
        subject = "One step lies" if len(outside) == 1 else f"{len(outside):,} steps lie"
        said.append(f"{subject} beyond the axis, as far as {farthest}: see the arrows.")
    if missing:
        said.append(f"{'One step has' if missing == 1 else f'{missing:,} steps have'} no finite value.")
    return " ".join(said)


def _trend(layers: list[Layer]) -> str:
    averages = [layer for layer in layers if layer.shape == "line"]
    return f"From {averages[0].y[0]:.3f} to {averages[0].y[-1]:.3f} on average." if averages else ""


def _steps(data: ReportData) -> tuple[float, float]:
    """The range of the step axis: the same in all charts, so that they can be compared."""
    seen = [*data.steps.step[:1], *data.steps.step[-1:], *(float(e.step) for e in data.evaluations)]
    low, high = min(seen), max(seen)
    return (low, high) if high > low else (low - 1, high + 1)


def _columns(points: list[tuple[int, float]]) -> tuple[Column, Column]:
    pairs = np.array(points, dtype=np.float64)
    return thin(pairs[:, 0], pairs[:, 1])
