"""The kinds of objects that the operator reads and writes, and their paths in the API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from zo_operator import names


@dataclass(frozen=True, slots=True)
class KindInfo:
    """One kind. `watched` kinds are kept in the store; `selector` is the label selector of the watch."""

    kind: str
    api_version: str
    plural: str
    watched: bool = True
    selector: str = names.SELECTOR

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of a collection (all namespaces where there is none), an object or its subresource."""
        root = "/api" if "/" not in self.api_version else "/apis"
        parts = [root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural, *(quote(part, safe="") for part in (name, subresource) if part)]
        return "/".join(parts)


RESOURCE = KindInfo(names.KIND, names.API_VERSION, names.PLURAL, selector="")
JOB = KindInfo("Job", "batch/v1", "jobs")
POD = KindInfo("Pod", "v1", "pods")
CONFIG_MAP = KindInfo("ConfigMap", "v1", "configmaps")
SERVICE = KindInfo("Service", "v1", "services")
EVENT = KindInfo("Event", "v1", "events", watched=False)
SECRET = KindInfo("Secret", "v1", "secrets", watched=False)
LEASE = KindInfo("Lease", "coordination.k8s.io/v1", "leases", watched=False)

CHILDREN = (JOB, POD, CONFIG_MAP, SERVICE)
WATCHED = (RESOURCE, *CHILDREN)
BY_KIND = {info.kind: info for info in (*WATCHED, EVENT, LEASE)}
