"""The zeroth-order fine-tuning runtime: adapts a model inside stock vLLM and logs each update as scalars."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("zofinetune")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
