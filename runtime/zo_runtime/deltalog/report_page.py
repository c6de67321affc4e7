"""`metrics/report.html`: a page that nothing in the log names, so it proves its own bytes."""

from __future__ import annotations

from zo_runtime.deltalog.checked_json import sha256
from zo_runtime.deltalog.names import REPORT
from zo_runtime.errors import LogCorrupt
from zo_runtime.storage.protocol import ObjectStore

_BEFORE, _AFTER = b"\n<!-- sha256 ", b" -->\n"
_TAIL = len(_BEFORE) + 64 + len(_AFTER)


def put_report(store: ObjectStore, html: str) -> None:
    """Store the run's report, over an older one. Its last line becomes a comment with the hash of the rest."""
    page = html.encode()
    store.put(REPORT, page + _BEFORE + sha256(page).encode() + _AFTER)


def require_sound_report(store: ObjectStore) -> None:
    """Raise `LogCorrupt` if a stored report is not as it was put."""
    data, _ = store.get(REPORT)
    page, tail = data[:-_TAIL], data[-_TAIL:]
    if tail != _BEFORE + sha256(page).encode() + _AFTER:
        raise LogCorrupt(f"{REPORT} does not match its own checksum; make it again with `zo report`")
