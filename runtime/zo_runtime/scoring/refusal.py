"""From what vLLM raises when an engine does not start to the product's errors: is it the model, or worth a retry?"""

from __future__ import annotations

from pydantic import ValidationError

from zo_runtime.config.model import Model
from zo_runtime.errors import EngineFailed, UnsupportedModel, ZOError

# What a method of quantization ends with that vLLM has not written for a platform: a missing kernel, op or package.
_MISSING = (ValueError, NotImplementedError, AssertionError, AttributeError, ImportError, TypeError, KeyError)
_LONGEST = 400


def refusal(model: Model, error: Exception, quantization: str | None, device: str) -> ZOError:
    """The error to raise. `quantization` is the base's method, None for plain weights; `device` is vLLM's word."""
    # On a CPU there is no device that could have failed: a RuntimeError is an op that it does not have.
    missing = (*_MISSING, RuntimeError) if device == "cpu" else _MISSING
    if quantization is not None and isinstance(error, missing) and not _about_other(error):
        return UnsupportedModel(_no_such_quantization(model, error, quantization, device))
    if isinstance(error, ValueError):
        return UnsupportedModel(f"spec.model.name: {model.name}: vLLM refuses it: {root(error)}")
    return EngineFailed(f"vLLM did not start: {root(error)}")


def root(error: BaseException) -> str:
    """The text of the first cause, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    if isinstance(error, ValidationError):  # of one of vLLM's configurations: its words without the frame
        text = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
    return " ".join(text.split())[:_LONGEST] or type(error).__name__


def _no_such_quantization(model: Model, error: Exception, quantization: str, device: str) -> str:
    supported = f"one of the methods that docs/quantization.md lists for {device}"
    if model.quantization is not None:
        return (
            f"spec.model.quantization: {quantization}: vLLM does not run {model.name} with it on {device} "
            f"({root(error)}): leave the field out, or give {supported}"
        )
    return (
        f"spec.model.name: {model.name}: vLLM does not run its quantization, {quantization}, on {device} "
        f"({root(error)}): give the unquantized model, or a checkpoint of {supported}"
    )


def _about_other(error: Exception) -> bool:
    """Whether the error is about memory, or a setting of the engine that has nothing to do with quantization."""
    text = root(error).lower()
    if isinstance(error, ValidationError):
        return "quantiz" not in text
    return isinstance(error, RuntimeError) and "memory" in text
