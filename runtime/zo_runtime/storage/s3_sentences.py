"""One sentence for the user of an S3 request that failed for good.

The sentences carry the service's error code but never its message or the request: those may quote keys,
signatures and tokens.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from botocore import exceptions as boto

from zo_runtime.errors import InvalidSpec, StorageDenied, StorageError, ZOError
from zo_runtime.storage.s3_faults import code_of, is_distrust, is_transient, is_unreachable, status_of

_ACCESS = (
    "grant s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket (without the last, a missing object "
    "looks forbidden)"
)
_REGION = "the bucket is in another region; set spec.storage.s3.region"
_SESSION = "the session token is not valid or has expired; get new credentials"
_REFUSALS = {
    "NoSuchBucket": "there is no such bucket; create it or correct the URI",
    "InvalidBucketName": "that is no valid bucket name; correct the URI",
    "InvalidAccessKeyId": "the service does not know the access key; check AWS_ACCESS_KEY_ID and the endpoint",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; check AWS_SECRET_ACCESS_KEY",
    "AccessDenied": f"the credentials do not permit it; {_ACCESS}",
    "401": "the service does not accept the credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "403": f"the credentials do not permit it; {_ACCESS}",
    "ExpiredToken": _SESSION,
    "InvalidToken": _SESSION,
    "TokenRefreshRequired": _SESSION,
    "RequestTimeTooSkewed": "this machine's clock differs from the service's; set the clock",
    "301": _REGION,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "NotImplemented": "the service does not know this kind of request; use one with conditional writes",
    "EntityTooLarge": "the object is larger than the service takes; use a service that takes larger ones",
}
_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.SSOTokenLoadError,
    boto.UnauthorizedSSOTokenError,
    boto.ProfileNotFound,
    boto.UnknownCredentialError,
)

Verdict = tuple[type[ZOError], str]


def explain(error: Exception, what: str, uri: str, endpoint: str | None) -> ZOError:
    """The deliberate error for a request that failed for good: `what` is its verb, as in "cannot read"."""
    kind, said = _misconfigured(error) or _unanswered(error) or _refused(error)
    place = _without_credentials(endpoint) if endpoint else "AWS"
    return kind(f"cannot {what} {uri} at {place}: {said}")


def _misconfigured(error: Exception) -> Verdict | None:
    """Requests that never left this machine."""
    if isinstance(error, _CREDENTIALS):
        return StorageDenied, (
            f"no usable credentials ({type(error).__name__}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "a shared credentials file, or a service account"
        )
    if isinstance(error, boto.ParamValidationError):
        return InvalidSpec, "that is no valid bucket and key; correct the URI"
    if isinstance(error, OSError) and not isinstance(error, boto.BotoCoreError):
        return StorageDenied, f"{error.filename} cannot be read ({error.strerror}); check the credentials' set-up"
    return None


def _unanswered(error: Exception) -> Verdict | None:
    """Requests whose answer did not come, or came damaged."""
    if is_distrust(error):
        return StorageDenied, _tls(str(error))
    if is_unreachable(error):
        return StorageError, f"{_no_connection(error)}; check spec.storage.s3.endpoint and the network"
    if isinstance(error, boto.FlexibleChecksumError):
        return StorageError, "its bytes do not match its checksum; restore the object, then start again"
    if not isinstance(error, boto.ClientError):
        return StorageError, f"the connection keeps failing ({type(error).__name__}); try again later"
    return None


def _refused(error: Exception) -> Verdict:
    """Requests that the service answered with an error."""
    status, code = status_of(error), code_of(error)
    if getattr(error, "operation_name", "").startswith("AssumeRole"):
        return StorageDenied, f"the role cannot be assumed ({code}); check its trust policy and its token"
    if code in _REFUSALS:
        return StorageDenied, _REFUSALS[code]
    if code.isdigit():
        return StorageError, (
            f"it answers HTTP {status} without an S3 error; check that spec.storage.s3.endpoint is an S3 service"
        )
    if is_transient(error):
        return StorageError, f"the service keeps failing with {code} (HTTP {status}); try again later"
    remedy = _ACCESS if status == 403 else "check spec.storage"
    return StorageDenied, f"the service refuses with {code} (HTTP {status}); {remedy}"


def _tls(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "its certificate is signed by nobody this machine trusts, or names another host; set "
            "spec.storage.s3.caFile to the authority's PEM file, and check the endpoint's host name"
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        return "it does not speak TLS; write spec.storage.s3.endpoint with http://"
    return "spec.storage.s3.caFile holds no certificate; give a PEM file"


def _no_connection(error: Exception) -> str:
    details: dict[str, object] = getattr(error, "kwargs", {})
    # Not always the endpoint of the request: a role's credentials come from another service.
    host = urlsplit(str(details.get("endpoint_url", ""))).hostname or "the service"
    cause = str(details.get("error", ""))
    if any(mark in cause for mark in ("resolve", "Name or service", "getaddrinfo", "nodename")):
        return f"the host name {host} is not known"
    return f"nothing listens at {host}" if "refused" in cause else f"no connection to {host} comes about"


def _without_credentials(endpoint: str) -> str:
    """The endpoint as one may print it."""
    parts = urlsplit(endpoint)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
