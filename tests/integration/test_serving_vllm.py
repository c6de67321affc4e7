"""Stock vLLM with the plugin: switches under load, an API key, other adapters, damage, and a node that goes down.

The tiny model in float32, so that an answer is exactly one version's. `python -m bench.switch` is the long form, with
a real model, 50 switches and 10 rollbacks.
"""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.replica import Replica
from bench.serving_log import ServingLog
from bench.switch import NAME, Plan, measure, options, prepare, wish
from zo_runtime.adapter.replay import replay
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.serving.cache import AdapterCache
from zo_runtime.serving.contract import ServedAdapter, Target
from zo_runtime.storage.local import LocalStore

STRENGTH = 0.02
KEY = "a-key-for-the-test"
PROMPT = "The patient said that"


@pytest.mark.vllm
def test_a_replica_under_load_under_damage_and_after_a_kill(tiny_model: Path, tmp_path: Path) -> None:
    plan = Plan(switches=8, rollbacks=3, quiet=2.0, dwell=0.3, workers=4, tokens=8, strength=STRENGTH)
    prepared = prepare(tiny_model, tmp_path, plan)
    with ServingLog(LocalStore(tmp_path / "log"), tiny_model, STRENGTH) as log:
        targets = [log.publish(2) for _ in range(4)]
    replica = Replica(
        tiny_model,
        tmp_path,
        key=KEY,
        options=options(prepared),
        environment={"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"},
    )
    with replica:
        require_key(replica)
        assert replica.adapters() == {}
        wish(replica.desired, prepared.uri, prepared.first)
        answer(replica, NAME)  # at once: the resolver builds the adapter, or waits for the follower's
        require_switches(measure(replica, prepared, plan, print))
        require_recovery(replica, tmp_path / "log", targets)
        wish(replica.desired, prepared.uri, targets[2])
        time.sleep(random.Random().uniform(0.0, 1.0))
        replica.kill()
    for path in (replica.cache / "adapters").iterdir():
        assert AdapterCache(replica.cache).find(path.name) is not None
    wish(replica.desired, prepared.uri, targets[3])
    with replica:  # its first answer is of what is desired
        assert replica.complete(model=NAME, prompt=PROMPT, max_tokens=1)["model"].startswith(f"{NAME}@v13-")
        served = replica.adapters()[NAME]
        assert (served.state, served.version) == ("Serving", 13)
        assert served.digest == replay(LogReader(log.store), version=13).digest()


def require_switches(found: dict[str, Any]) -> None:
    """No request failed, every answer is one version's, and the prefix cache was in use and not stale."""
    assert (found["failed"], found["mixed"]) == ([], [])
    assert found["requests"] > 50
    assert found["different_answers"] > 45  # of at most 66: versions do differ
    assert found["prefix_cache_hit_tokens"] > 0


def require_recovery(replica: Replica, log: Path, targets: Sequence[Target]) -> None:
    """A tampered segment is refused, the old version serves on beside other adapters, and all is well once mended."""
    wish(replica.desired, str(log), targets[0])
    old = until(replica, lambda a: a.state == "Serving" and a.version == targets[0].version)
    first = answer(replica, NAME)
    models = {card["id"] for card in json.loads(replica.get("/v1/models"))["data"]}
    assert {"base", NAME} < models
    assert not any(name.startswith(f"{NAME}@") for name in models)
    segment = log / "segments" / f"{old.step + 1:09d}-{old.step + 2:09d}.parquet"  # type: ignore[operator]
    sound = segment.read_bytes()
    segment.write_bytes(sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])
    wish(replica.desired, str(log), targets[1])
    broken = until(replica, lambda a: a.state == "Failed")
    assert (broken.digest, broken.last_error.reason) == (old.digest, "LogCorrupt")  # type: ignore[union-attr]
    assert answer(replica, NAME) == first
    segment.write_bytes(sound)
    until(replica, lambda a: a.state == "Serving" and a.version == targets[1].version)
    assert answer(replica, NAME) != first


def answer(replica: Replica, model: str) -> str:
    text: str = replica.complete(model=model, prompt=PROMPT, max_tokens=8)["choices"][0]["text"]
    return text


def until(replica: Replica, true: Callable[[ServedAdapter], bool]) -> ServedAdapter:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = replica.adapters().get(NAME)
        if found is not None and true(found):
            return found
        time.sleep(0.1)
    raise AssertionError(replica.adapters())


def require_key(replica: Replica) -> None:
    """Without the key the plugin's routes say nothing, and with it they change nothing."""
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for path in ("/zo/v1/adapters", "/v1/models"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(replica.url + path, headers=headers), timeout=30)
            assert refused.value.code == 401
            refused.value.close()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        request = urllib.request.Request(
            f"{replica.url}/zo/v1/adapters", b"{}", {"Authorization": f"Bearer {KEY}"}, method=method
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert refused.value.code == 405
        refused.value.close()
