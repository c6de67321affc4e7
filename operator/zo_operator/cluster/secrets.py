"""Reading one key of a Secret that a resource names: an API key, a bearer token. Never to be shown anywhere."""

from __future__ import annotations

import base64
import binascii

from zo_operator.cluster.client import Client
from zo_operator.cluster.kinds import SECRET
from zo_operator.errors import Forbidden, NotFound
from zo_operator.reconcile.replicas import Problem


async def read_secret(client: Client, namespace: str, name: str, key: str, field: str) -> str | Problem:
    """The text under a key, or why it cannot be had; `field` is the part of the spec that names the Secret.

    Raises:
        ApiError: the API server is out of reach or refuses for another reason.
    """
    where = f"{field}: Secret {name}"
    try:
        data = (await client.get(SECRET, namespace, name)).get("data") or {}
    except Forbidden:
        remedy = "list it under the chart's value rbac.apiKeySecrets"
        return Problem("SecretForbidden", f"{where}: the operator may not read it: {remedy}")
    except NotFound:
        return Problem("SecretNotFound", f"{where}: there is none in namespace {namespace}")
    if key not in data:
        return Problem("SecretKeyNotFound", f"{where} has no key {key}")
    try:
        text = base64.b64decode(data[key]).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    if not text or not text.isprintable():
        return Problem("SecretInvalid", f"{where}: the key {key} is empty, or no printable ASCII text")
    return text
