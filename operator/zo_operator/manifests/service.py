"""The headless Service: names for the pods of a round, and a target for scrapes."""

from __future__ import annotations

from zo_operator import names
from zo_operator.manifests.metadata import Object, Owner, metadata

RENDEZVOUS_PORT = 29500


def service(owner: Owner, metrics_port: int) -> Object:
    """One Service serves all rounds. Pods have names before they are ready: workers meet while they load."""
    ports = [_port("rendezvous", RENDEZVOUS_PORT)]
    if metrics_port:
        ports.append(_port("metrics", metrics_port))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, names.service(owner.name)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.LABEL_UID: owner.uid, names.LABEL_COMPONENT: names.COMPONENT_RUNTIME},
            "ports": ports,
        },
    }


def _port(name: str, number: int) -> Object:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
