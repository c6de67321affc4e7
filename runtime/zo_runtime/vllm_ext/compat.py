"""Where stock vLLM and another stock library do not get on: one small, contained answer each."""

from __future__ import annotations


def shield_llvmlite() -> None:
    """Let vLLM's CPU worker start in a process that has numba.

    vLLM 0.32 asks every object in every loaded module for `__dict__` when it registers its CPU kernels. llvmlite's
    library handle answers any attribute name with a function wrapper, so vLLM takes that for a dictionary and
    fails ("'_lib_fn_wrapper' object has no attribute 'get'"). The handle looks names up in its own table first:
    an empty dictionary there is the honest answer.
    """
    from llvmlite.binding import ffi  # noqa: PLC0415

    ffi.lib._fntab.setdefault("__dict__", {})
