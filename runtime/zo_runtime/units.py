"""Quantities as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time: `0.42 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def data_size(size: float) -> str:
    """A size: `512 B`, `1.5 KiB`, `240 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
