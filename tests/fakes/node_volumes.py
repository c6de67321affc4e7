"""What a container finds in its pod: its variables, and its volumes as folders of this machine.

There are no mounts here, so a path that a container mounts stands for a folder: mount paths are replaced in the
command, in the variables and in the files of ConfigMaps, and the pod's address takes the place of 0.0.0.0, which in a
pod means no more than that. Nothing else of what the operator wrote is touched.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from fakes.kube import FakeKube
from fakes.kube_store import Object

_ANY_ADDRESS = "0.0.0.0"
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Volumes:
    """The volumes of one pod below `home`."""

    def __init__(self, kube: FakeKube, pod: Object, home: Path, address: str) -> None:
        self._kube, self._pod, self._home = kube, pod, home
        self._paths = {_ANY_ADDRESS: address}
        (container,) = pod["spec"]["containers"]
        self._paths[container.get("terminationMessagePath", "/dev/termination-log")] = str(home / "termination-log")
        for mount in container.get("volumeMounts", ()):
            self._paths[mount["mountPath"]] = str(home / mount["name"])
        home.mkdir(parents=True, exist_ok=True)

    def localize(self, text: str) -> str:
        """The text with this machine's paths and address in the place of the pod's."""
        longest = sorted(self._paths, key=len, reverse=True)
        pattern = "|".join(re.escape(path) for path in longest)
        return re.sub(rf"(?<![\w.-])({pattern})(?![\w.-])", lambda found: self._paths[found[1]], text)

    def refresh(self) -> bool:
        """Bring the folders up to date; false while something that has to be there is missing."""
        filled = [self._fill(volume) for volume in self._pod["spec"].get("volumes", ())]
        return all(filled)

    def _fill(self, volume: Object) -> bool:
        folder = self._home / volume["name"]
        folder.mkdir(exist_ok=True)
        if "configMap" in volume:
            source = volume["configMap"]
            found = self._kube.find("configmaps", source["name"], self._pod["metadata"]["namespace"])
            files = {name: self.localize(text) for name, text in ((found or {}).get("data") or {}).items()}
        elif "secret" in volume:
            source = volume["secret"]
            found = self._kube.find("secrets", source["secretName"], self._pod["metadata"]["namespace"])
            files = decoded(found)
        else:
            return True
        if found is None and not source.get("optional"):
            return False
        _write(folder, files)
        return True


def decoded(secret: Object | None) -> dict[str, str]:
    """The values of a Secret."""
    data: Mapping[str, str] = (secret or {}).get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def environment(kube: FakeKube, pod: Object, address: str, localize: Callable[[str], str]) -> dict[str, str]:
    """The container's variables: those of `envFrom`, and over them those of `env`."""
    (container,) = pod["spec"]["containers"]
    meta, found = pod["metadata"], dict[str, str]()
    for source in container.get("envFrom", ()):
        found |= decoded(kube.find("secrets", source["secretRef"]["name"], meta["namespace"]))
    index = (meta.get("labels") or {}).get("batch.kubernetes.io/job-completion-index")
    if index is not None:
        found["JOB_COMPLETION_INDEX"] = index
    fields = {"metadata.name": meta["name"], "metadata.namespace": meta["namespace"], "status.podIP": address}
    for variable in container.get("env", ()):
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            value = decoded(kube.find("secrets", reference["name"], meta["namespace"]))[reference["key"]]
        elif "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        else:
            value = localize(variable.get("value", ""))
        found[variable["name"]] = value
    return found


def command(container: Object, variables: Mapping[str, str]) -> list[str]:
    """The container's command and arguments, with `$(NAME)` replaced where there is such a variable."""
    words = [*container["command"], *container.get("args", ())]
    return [_REFERENCE.sub(lambda found: variables.get(found[1], found[0]), word) for word in words]


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Replace what has changed, each file in one step, and remove what is no longer there."""
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            new = folder / f".{name}.new"
            new.write_text(text)
            new.rename(path)
