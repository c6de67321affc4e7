"""Which failures of S3 are worth another attempt, and what is said of those that are not."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from zo_runtime.errors import StorageDenied, StorageError
from zo_runtime.storage.s3_faults import is_transient
from zo_runtime.storage.s3_sentences import explain


def answer(status: int, code: str, operation: str = "PutObject") -> boto.ClientError:
    response = {
        "Error": {"Code": code, "Message": "AKIASECRET signed with topsecret"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return boto.ClientError(response, operation)


TRANSIENT = [
    answer(500, "InternalError"),
    answer(503, "SlowDown"),
    answer(502, "502"),
    answer(429, "TooManyRequests"),
    answer(400, "RequestTimeout"),
    answer(400, "IncompleteBody"),
    answer(400, "BadDigest"),
    answer(409, "ConditionalRequestConflict"),
    answer(409, "OperationAborted"),
    answer(404, "404"),
    boto.ConnectionClosedError(endpoint_url="x"),
    boto.ReadTimeoutError(endpoint_url="x"),
    boto.ConnectTimeoutError(endpoint_url="x"),
    boto.EndpointConnectionError(endpoint_url="x"),
    boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    boto.ResponseStreamingError(error="cut"),
    boto.SSLError(endpoint_url="x", error="EOF occurred in violation of protocol"),
    ResponseParserError("no XML"),
]
PERMANENT = [
    (answer(404, "NoSuchBucket"), "create it"),
    (answer(403, "InvalidAccessKeyId"), "AWS_ACCESS_KEY_ID"),
    (answer(403, "SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY"),
    (answer(403, "AccessDenied"), "s3:ListBucket"),
    (answer(403, "SomethingNew"), "s3:ListBucket"),
    (answer(400, "ExpiredToken"), "new credentials"),
    (answer(403, "RequestTimeTooSkewed"), "set the clock"),
    (answer(301, "PermanentRedirect"), "spec.storage.s3.region"),
    (answer(501, "NotImplemented"), "conditional writes"),
    (answer(400, "InvalidArgument"), "refuses with InvalidArgument"),
    (answer(400, "InvalidIdentityToken", "AssumeRoleWithWebIdentity"), "trust policy"),
    (boto.NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
    (boto.ProfileNotFound(profile="x"), "ProfileNotFound"),
    (FileNotFoundError(2, "No such file or directory", "/token"), "/token cannot be read"),
    (boto.SSLError(endpoint_url="x", error="[SSL: CERTIFICATE_VERIFY_FAILED]"), "caFile"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=str)
def test_is_tried_again(error: Exception) -> None:
    assert is_transient(error)
    last = explain(error, "write", "s3://bucket/key", "http://service")
    assert isinstance(last, StorageError)
    assert last.retryable
    assert "topsecret" not in str(last) and "AKIASECRET" not in str(last)


@pytest.mark.parametrize(("error", "said"), PERMANENT, ids=lambda value: str(value)[:40])
def test_is_refused_with_a_remedy(error: Exception, said: str) -> None:
    assert not is_transient(error)
    refusal = explain(error, "write", "s3://bucket/key", None)
    assert isinstance(refusal, StorageDenied)
    assert not refusal.retryable
    assert str(refusal).startswith("cannot write s3://bucket/key at AWS: ")
    assert said in str(refusal)
    assert "topsecret" not in str(refusal) and "AKIASECRET" not in str(refusal)
