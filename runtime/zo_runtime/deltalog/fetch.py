"""Reading immutable objects: verified before use, several at a time, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from zo_runtime.deltalog.checked_json import sha256
from zo_runtime.deltalog.documents import ObjectRef
from zo_runtime.errors import LogCorrupt
from zo_runtime.storage.protocol import NotFound, ObjectStore

S = TypeVar("S")
T = TypeVar("T")
# Requests under way at once: enough to hide the latency of object storage, few enough to keep memory small.
PARALLEL = 8


def fetch(store: ObjectStore, ref: ObjectRef) -> bytes:
    """The bytes of an object, exactly those that `ref` demands. Raise `NotFound`, `LogCorrupt`."""
    data, _ = store.get(ref.key)
    if len(data) != ref.size or sha256(data) != ref.sha256:
        raise LogCorrupt(f"{ref.key} does not have the bytes that the log recorded; restore the object from a copy")
    return data


@contextmanager
def must_exist() -> Iterator[None]:
    """Turn `NotFound` into `LogCorrupt`: an object that the log names must be there."""
    try:
        yield
    except NotFound as error:
        raise LogCorrupt(f"{error} is missing; restore it from a copy") from None


def in_order(work: Callable[[S], T], items: Iterable[S], parallel: int = PARALLEL) -> Iterator[T]:
    """Yield `work` of each item in order, with at most `parallel` of them running or waiting to be taken."""
    with ThreadPoolExecutor(parallel) as pool:
        pending: deque[Future[T]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= parallel:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
