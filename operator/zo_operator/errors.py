"""What can go wrong between the operator and the cluster.

```
OperatorError
├── SettingsError    an option or variable of the operator itself is wrong: it does not start
└── ApiError         the Kubernetes API answered with an error
    ├── NotFound     404: the object, or its kind, is not there
    ├── Conflict     409: exists already, or changed since it was read: look again
    ├── Refused      400, 413, 415, 422: the object is wrong and stays wrong until the resource changes
    ├── Forbidden    401, 403: a quota, a policy or missing rights: may be lifted, ask again later
    │   └── NameTaken    somebody else's object has the name
    └── Unavailable  429, 5xx, no connection, timeout: ask again later
```

Each class says what a reconcile does with it, in one place for all calls.
"""

from __future__ import annotations


class OperatorError(Exception):
    """Base of the operator's deliberate errors."""


class SettingsError(OperatorError):
    """An option or environment variable of the operator is wrong; the message names it."""


class ApiError(OperatorError):
    """The Kubernetes API answered with an error. `status` is the HTTP code, 0 when there was no answer."""

    reason = "ApiError"

    def __init__(self, status: int, message: str, details: dict[str, object] | None = None):
        super().__init__(message)
        self.status, self.message, self.details = status, message, details or {}


class NotFound(ApiError):
    """404."""

    reason = "NotFound"


class Conflict(ApiError):
    """409: the object exists already, or is no longer the one that was read."""

    reason = "Conflict"


class Refused(ApiError):
    """The API server will not take this object, now or later."""

    reason = "Refused"


class Forbidden(ApiError):
    """A quota, an admission policy or RBAC says no for now."""

    reason = "Forbidden"


class NameTaken(Forbidden):
    """An object of that name is there and is not the operator's: somebody may take it away."""

    reason = "NameTaken"


class Unavailable(ApiError):
    """The API server is overloaded, restarting or out of reach."""

    reason = "ApiUnavailable"


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Refused,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    405: Refused,
    409: Conflict,
    413: Refused,
    415: Refused,
    422: Refused,
    429: Unavailable,
}


def from_status(status: int, message: str, details: dict[str, object] | None = None) -> ApiError:
    """The error for an HTTP code of 400 or more."""
    default = Unavailable if status >= 500 else Refused
    return _BY_STATUS.get(status, default)(status, message, details)
