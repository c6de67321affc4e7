"""Waiting for a vLLM server until it answers."""

from __future__ import annotations

import asyncio

import aiohttp
from tools.story.cluster import Cluster, StoryFailed

_MINUTES = 6.0


async def answers(home: Cluster, pod: str, port: int) -> str:
    """Wait until the pod's server is healthy; its URL. Raise `StoryFailed`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 60 * _MINUTES
    async with aiohttp.ClientSession() as session:
        while loop.time() < end:
            status = (home.kube.find("pods", pod) or {}).get("status", {})
            if status.get("phase") == "Failed":
                break
            url = f"http://{status.get('podIP')}:{port}"
            if status.get("podIP") and await _healthy(session, url):
                return url
            await asyncio.sleep(0.5)
    raise StoryFailed(f"{pod} does not answer: see its log")


async def _healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health", timeout=aiohttp.ClientTimeout(total=5)) as answer:
            return answer.status == 200
    except (TimeoutError, aiohttp.ClientError):
        return False
