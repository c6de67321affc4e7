"""What went wrong with an S3 request: is it worth another attempt or not."""

from __future__ import annotations

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

# Everything that botocore raises for a request. Files of the credential chain that cannot be read come as OSError.
FAILURES = (boto.BotoCoreError, boto.ClientError, ResponseParserError, OSError)

# Answers below 500 that another attempt may cure: throttling, bytes that were lost or changed on the way, and
# conflicts with a request that is still being served.
_PASSING = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "RequestTimeout",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "ConditionalRequestConflict",
    "OperationAborted",
}
_UNREACHABLE = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_INTERRUPTED = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    ResponseParserError,
)


class IncompleteAnswer(Exception):
    """An answer that arrived, but not whole."""


def status_of(error: Exception) -> int:
    """HTTP status of the service's answer; 0 if there was none."""
    if not isinstance(error, boto.ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: Exception) -> str:
    """The service's error code, or the status in digits where the answer had no readable error document."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def is_unreachable(error: Exception) -> bool:
    """Tell whether no connection came about at all."""
    return isinstance(error, _UNREACHABLE)


def is_distrust(error: Exception) -> bool:
    """Tell a certificate or protocol that will never do from a handshake that was interrupted."""
    marks = ("CERTIFICATE", "WRONG_VERSION_NUMBER", "RECORD_LAYER", "X509")
    return isinstance(error, (boto.SSLError, boto.HTTPClientError)) and any(mark in str(error) for mark in marks)


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed later without anyone changing anything."""
    if isinstance(error, boto.ClientError):
        status, code = status_of(error), code_of(error)
        # A code of digits comes from an answer that was cut, or that is not S3's.
        return (status >= 500 and status != 501) or status == 429 or code in _PASSING or code.isdigit()
    return isinstance(error, _INTERRUPTED) and not is_distrust(error)
