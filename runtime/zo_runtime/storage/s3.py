"""S3 and compatible services as an object store, with conditional writes that survive lost answers.

Credentials come from the standard AWS chain only: environment, shared file, web identity, instance role.

Two faults need more than a plain retry. An answer may be cut at any byte, so every field that is relied on is
checked for completeness. And the answer to a conditional write may be lost after the write was done: the
retry is then refused because of our own object. Each write therefore carries a random mark in the object's
metadata, and a refused write looks whose object is there. What remains open, with any service: if another
writer replaced our object before we looked, the write counts as lost though it was seen for a moment.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from zo_runtime.config.storage import S3
from zo_runtime.storage.keys import is_key, require_condition, require_key
from zo_runtime.storage.protocol import NotFound, ObjectInfo, PreconditionFailed
from zo_runtime.storage.retry import Retry, Transient
from zo_runtime.storage.s3_client import make_client, parse_uri
from zo_runtime.storage.s3_faults import (
    FAILURES,
    IncompleteAnswer,
    code_of,
    is_transient,
    is_unreachable,
    status_of,
)
from zo_runtime.storage.s3_sentences import explain

T = TypeVar("T")

_MARK = "zo-write"
# Until a first answer has come, an endpoint that cannot be reached is more likely misspelt than down.
_ATTEMPTS_TO_REACH = 6


class S3Store:
    """The objects below `s3://bucket/prefix`. Safe between threads, so that many reads can be in flight."""

    def __init__(self, uri: str, s3: S3, *, retry: Retry | None = None) -> None:
        self._bucket, self._prefix = parse_uri(uri)
        self.uri = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        self._endpoint = s3.endpoint
        self._client = make_client(s3)
        self._retry = retry or Retry()
        self._reached = threading.Event()

    def get(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and etag. Raise `NotFound`, `StorageError`."""
        require_key(key)
        data, etag, _ = self._request("read", key, lambda: self._fetch(key))
        return data, etag

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object; see the protocol. Raise `PreconditionFailed`, `StorageError`."""
        require_key(key)
        require_condition(if_absent, if_match)
        mark = uuid.uuid4().hex
        request = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "Body": data,
            # Checked by the service before it stores the body, and by the client whenever it reads it.
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "Metadata": {_MARK: mark},
        }
        if if_absent:
            request["IfNoneMatch"] = "*"
        if if_match is not None:
            request["IfMatch"] = if_match
        return self._request("write", key, lambda: self._write(key, request, mark))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, ordered by key. Raise `StorageError`.

        All pages are read before the first object is yielded: some services walk folder by folder, which is
        not the order of the keys.
        """
        found: list[ObjectInfo] = []
        token: str | None = None
        while True:
            page = self._request("list", prefix, partial(self._page, prefix, token))
            for entry in page.get("Contents", ()):
                key = entry["Key"][len(self._prefix) :]
                if is_key(key):  # else a folder marker that some console made
                    found.append(ObjectInfo(key, int(entry["Size"]), str(entry["ETag"]), entry.get("LastModified")))
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or token is None:
                break
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Raise `StorageError`."""
        require_key(key)
        name = self._prefix + key
        self._request("delete", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=name))

    def _request(self, what: str, key: str, call: Callable[[], T]) -> T:
        """Run one request to its end: a result, a condition of the protocol, or a deliberate error."""
        unreached = 0

        def attempt() -> T:
            nonlocal unreached
            try:
                result = call()
            except FAILURES as error:
                if not is_unreachable(error):
                    self._reached.set()
                elif not self._reached.is_set():
                    unreached += 1
                if is_transient(error) and unreached < _ATTEMPTS_TO_REACH:
                    raise Transient(error) from error
                raise
            self._reached.set()
            return result

        uri = f"{self.uri}/{key}"
        try:
            return self._retry.call(attempt)
        except Transient as last:
            raise explain(last.cause, what, uri, self._endpoint) from last.cause
        except FAILURES as error:
            if what == "read" and code_of(error) in ("NoSuchKey", "NotFound"):
                raise NotFound(uri) from error
            raise explain(error, what, uri, self._endpoint) from error

    def _fetch(self, key: str) -> tuple[bytes, str, str | None]:
        """An object's bytes, etag and mark; `Transient` if any of them arrived incomplete."""
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
        with closing(answer["Body"]) as body:
            data: bytes = body.read()
        chunked = "transfer-encoding" in answer["ResponseMetadata"]["HTTPHeaders"]
        if not chunked and len(data) != answer.get("ContentLength"):
            raise _incomplete("a body shorter than its announced length")
        return data, _etag(answer), answer.get("Metadata", {}).get(_MARK)

    def _write(self, key: str, request: dict[str, Any], mark: str) -> str:
        try:
            return _etag(self._client.put_object(**request))
        except FAILURES as error:
            # AWS answers If-Match on a missing object with 404 NoSuchKey, others with 412.
            if status_of(error) != 412 and code_of(error) != "NoSuchKey":
                raise
        return self._own(key, mark, must_exist="IfMatch" in request)

    def _own(self, key: str, mark: str, *, must_exist: bool) -> str:
        """The etag of the object that stood in the way, if an earlier attempt of ours wrote it."""
        try:
            # The whole object, not its head: only a body of full length proves that no header was cut off.
            _, etag, found = self._fetch(key)
        except FAILURES as error:
            if code_of(error) != "NoSuchKey":
                raise
            if not must_exist:
                raise _incomplete("a conflict with an object that is gone") from error
            found = None
        if found != mark:
            raise PreconditionFailed(f"{self.uri}/{key} is not in the state that the write demands")
        return etag

    def _page(self, prefix: str, token: str | None) -> dict[str, Any]:
        more = {} if token is None else {"ContinuationToken": token}
        page: dict[str, Any] = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + prefix, **more)
        return page


def _etag(answer: dict[str, Any]) -> str:
    etag = str(answer.get("ETag", ""))
    if not etag or etag.startswith('"') != etag.endswith('"') or etag == '"':
        raise _incomplete("an answer whose headers are cut")
    return etag


def _incomplete(what: str) -> Transient:
    return Transient(IncompleteAnswer(what))
