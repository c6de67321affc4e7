"""Sets the scene: S3, cluster, replicas, clients; has the story told there; and sums it up."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tools.story import manifests
from tools.story.cast import Cast
from tools.story.clients import Clients
from tools.story.cluster import Cluster, StoryFailed, beside, cluster
from tools.story.monitoring import seen
from tools.story.scenario import Story
from tools.story.servers import answers
from tools.story.shop import Shop
from tools.story.timeline import Timeline

from fakes.kube_node import FINALIZER
from fixtures.seaweed import S3Service, free_ports
from zo_operator import names


async def perform(cast: Cast, out: Path, s3: S3Service, timeline: Timeline) -> dict[str, Any]:
    """The story from its first to its last line; the summary. Raise `StoryFailed` where it goes another way."""
    bucket, (port,) = await asyncio.to_thread(s3.new_bucket), free_ports(1)
    shop = Shop(s3.client(), bucket, pause_seconds=cast.export_seconds)
    async with cluster(cast, out.resolve(), timeline) as home:
        await shop.open()
        home.kube.put(manifests.secret(s3.access_key, s3.secret_key))
        pods = [home.kube.put(pod) for pod in manifests.replicas(cast, port, [FINALIZER])]
        timeline.tell("world", f"{len(pods)} replicas of vLLM start")
        urls = {pod["metadata"]["name"]: await answers(home, pod["metadata"]["name"], port) for pod in pods}
        where = {"endpoint": s3.endpoint, "region": s3.region, "pathStyle": True}
        async with Clients(urls, manifests.NAME, manifests.QUESTION, timeline) as clients:
            story = Story(home, shop, clients, timeline, tuple(urls))
            async with beside(story.clients_go_on(cast.pause_seconds)):
                await story.tell(manifests.resource(cast, bucket, where, port))
        if clients.failures:
            raise StoryFailed(f"{len(clients.failures)} requests failed, the first: {clients.failures[0]}")
        for command in (["verify"], ["report", "--out", str(out / "report.html")]):
            await asyncio.to_thread(zo, s3, *command, f"s3://{bucket}/log")
        watched = await asyncio.to_thread(seen, home.prometheus, timeline.now)
        return summary(story) | {"prometheus": watched}


def zo(s3: S3Service, *arguments: str) -> None:
    """Run the `zo` command of this environment on the log. Raise `StoryFailed`."""
    options = ["--s3-endpoint", s3.endpoint, "--s3-region", s3.region, "--s3-path-style"]
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    command = [str(Path(sys.executable).with_name("zo")), *arguments, *options]
    done = subprocess.run(command, env=os.environ | keys, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoryFailed(f"zo {arguments[0]} ends with {done.returncode}: {done.stderr}")


def summary(story: Story) -> dict[str, Any]:
    """What the last line says."""
    home: Cluster = story.cluster
    kept = ("number", "trigger", "outcome", "reason", "version", "dataRecords", "seconds")
    rounds = [{key: each[key] for key in kept if key in each} for each in reversed(home.status()["rounds"])]
    components = (names.COMPONENT_RUNTIME, names.COMPONENT_PROBE, names.COMPONENT_CHECK)
    withdrawn = [{key: each[key] for key in ("version", "reason", "message")} for each in home.serving()["withdrawn"]]
    return {
        "seconds": round(story.timeline.now, 1),
        "accuracy": {key: round(value, 4) for key, value in story.figures.items()},
        "rounds": rounds,
        "withdrawn": withdrawn,
        "pods_run": {component: home.pods_of(component) for component in components},
        "events": dict(Counter(event["reason"] for event in home.kube.store.all("events"))),
        "requests": story.clients.requests,
        "failed_requests": len(story.clients.failures),
    }
