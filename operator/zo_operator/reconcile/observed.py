"""What a reconcile knows: one resource and the objects that belong to it, as the API server stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from zo_operator import names
from zo_operator.api.status import Status, parse_status
from zo_operator.manifests.metadata import Object, Owner
from zo_operator.reconcile.questions import Question, Reply
from zo_operator.reconcile.replicas import Follow, Survey
from zo_runtime.progress import Progress

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it: UTC, to the second."""
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def parse_time(text: str) -> datetime:
    """The moment of a Kubernetes timestamp."""
    return datetime.fromisoformat(text)


@dataclass(frozen=True)
class Resource:
    """One `ZOFineTune` as stored."""

    raw: Object

    @property
    def name(self) -> str:
        return str(self.raw["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.raw["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    @property
    def generation(self) -> int | None:
        value = self.raw["metadata"].get("generation")
        return None if value is None else int(value)

    @property
    def resource_version(self) -> str | None:
        value = self.raw["metadata"].get("resourceVersion")
        return None if value is None else str(value)

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.raw["metadata"]

    @property
    def spec(self) -> Any:
        return self.raw.get("spec")

    def annotation(self, name: str) -> str:
        """The value of an annotation, empty where there is none."""
        return str((self.raw["metadata"].get("annotations") or {}).get(name, ""))

    @property
    def restart(self) -> str:
        return self.annotation(names.ANNOTATION_RESTART)

    @cached_property
    def status(self) -> Status:
        return parse_status(self.raw.get("status"))

    @property
    def owner(self) -> Owner:
        return Owner(self.name, self.namespace, self.uid)


@dataclass(frozen=True)
class Refusal:
    """The API server would not carry out an action. `final` means that asking again cannot help."""

    action: str
    reason: str
    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class Leader:
    """A running pod that can be asked: its uid, and the URL of its progress."""

    pod: str
    url: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pod, by its uid, said of its progress."""

    pod: str
    progress: Progress


@dataclass(frozen=True)
class Observed:
    """The world around one resource. The lists hold only what carries the resource's uid.

    `live` says that the pods were read from the API server just now, and not from the watch's cache, which may
    lag behind the Job's.
    """

    jobs: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    config_maps: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    reading: Reading | None = None
    survey: Survey | None = None
    replies: Mapping[Question, Reply] = field(default_factory=dict)
    refusal: Refusal | None = None
    live: bool = False


Kind = Literal["Job", "ConfigMap", "Service"]


@dataclass(frozen=True)
class Apply:
    """Server-side apply of one whole object. With `new`, only if nobody else's has its name."""

    body: Object
    new: bool = False


@dataclass(frozen=True)
class Patch:
    """Merge patch of some fields of one object."""

    kind: Kind
    name: str
    patch: Object


@dataclass(frozen=True)
class Delete:
    """Delete one object, if it still is the one with that uid; what it owns goes first."""

    kind: Kind
    name: str
    uid: str


@dataclass(frozen=True)
class Emit:
    """A Kubernetes Event. `key` tells this occurrence from others, the same after a restart of the operator."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    key: str


Action = Apply | Patch | Delete | Emit


@dataclass(frozen=True)
class Plan:
    """What to do now. `status` is what is to be stored, or none where nothing is to be said; `leader` is whom to
    ask for progress from now on, `follow` which replicas, `ask` what to ask Prometheus; `refresh` asks for a plan
    with live pods instead, and `again` for another plan after so many seconds."""

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    leader: Leader | None = None
    follow: Follow | None = None
    ask: tuple[Question, ...] = ()
    refresh: bool = False
    again: float | None = None


@dataclass(frozen=True)
class Defaults:
    """The operator's settings that shape objects."""

    runtime_image: str
    history: int = field(default=10)
