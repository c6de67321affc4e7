"""Every name that the operator gives: API group, labels, annotations, children.

Names of children are functions of the resource alone, so that a reconcile after a crash finds what the one
before it made. A child's base name has at most 44 characters: Kubernetes adds an index and a random part to
the names of an Indexed Job's pods and puts them into a 63-character host name.
"""

from __future__ import annotations

import hashlib

GROUP = "zofinetune.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ZOFineTune"
PLURAL = "zofinetunes"
SINGULAR = "zofinetune"

# Server-side apply's field manager and the source of events.
FIELD_MANAGER = "zofinetune"
REPORTER = "zofinetune-operator"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "zofinetune"
# Selects every object that the operator watches, on the server's side.
SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

# The resource's uid on each of its children and their pods: a resource made anew under an old name never takes
# over what belonged to the old one.
LABEL_UID = f"{GROUP}/resource-uid"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
LABEL_JOB = "batch.kubernetes.io/job-name"
LABEL_INDEX = "batch.kubernetes.io/job-completion-index"

COMPONENT_RUNTIME = "runtime"
COMPONENT_CLEANUP = "cleanup"
COMPONENT_SERVING = "serving"
COMPONENT_PROBE = "probe"
COMPONENT_CHECK = "check"

# A new value starts a new round of an unchanged spec; the log goes on where it ends.
ANNOTATION_RESTART = f"{GROUP}/restart"
# The number of a round that is not to be: the one that runs, or the next.
ANNOTATION_SKIP = f"{GROUP}/skip-round"
# The number of a version that may reach all replicas.
ANNOTATION_APPROVE = f"{GROUP}/approve"
# The number of a version to go back to. Each value acts once.
ANNOTATION_ROLLBACK = f"{GROUP}/rollback-to"
# On a cleanup record: the resource whose log it removes.
ANNOTATION_RESOURCE = f"{GROUP}/resource"

_BASE_LENGTH = 44
_HASH_LENGTH = 8
_NAME_LENGTH = 253


def digest(text: str, length: int = _HASH_LENGTH) -> str:
    """The first `length` hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def slug(name: str) -> str:
    """A resource's name as a label value and as a part of other names: no dots, at most 41 characters.

    A name that fits is itself; any other keeps its start and ends in a hash of the whole.
    """
    limit = _BASE_LENGTH - len("zo-")
    plain = name.replace(".", "-")
    if plain == name and len(name) <= limit:
        return name
    return f"{plain[: limit - _HASH_LENGTH - 1].rstrip('-')}-{digest(name)}"


def base(name: str) -> str:
    """What the names of all children start with. It starts with a letter, as a Service's name must."""
    return f"zo-{slug(name)}"


def service(name: str) -> str:
    """Name of the headless Service."""
    return base(name)


def cleanup(name: str) -> str:
    """Name of the record that outlives the resource when its log is to be deleted."""
    return f"{base(name)}-cleanup"


def serving(name: str) -> str:
    """Name of the ConfigMap that serving replicas mount: the resource's name, so that people can write it down."""
    end = "-serving"
    if len(name) + len(end) <= _NAME_LENGTH:
        return name + end
    kept = name[: _NAME_LENGTH - len(end) - _HASH_LENGTH - 1].rstrip("-.")
    return f"{kept}-{digest(name)}{end}"


def job(name: str, number: int, content: str) -> str:
    """Name of a round's Job and of its ConfigMap; `content` is what must not change under that name."""
    return f"{base(name)}-{number}-{digest(content, 6)}"


def check_prefix(name: str) -> str:
    """What the names of all Jobs that score a replica start with."""
    return f"{base(name)}-check-"


def check(name: str, content: str) -> str:
    """Name of a Job that scores a replica, and of its ConfigMap. A Job's pod gets six characters more."""
    return f"{check_prefix(name)}{digest(content, 6)}"


def probe(name: str, number: int, content: str) -> str:
    """Name of the Job that looks at the data, and of its ConfigMap."""
    return f"{base(name)}-probe-{number}-{digest(content, 6)}"


def uid_selector(uid: str) -> dict[str, str]:
    """Labels by which everything of one resource is found."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_UID: uid}
