"""The plugin's edges in vLLM: when it is active, what it refuses, how it names and numbers adapters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zo_runtime.errors import EngineFailed, InvalidSpec
from zo_runtime.serving.contract import Target
from zo_runtime.serving.engine import Adapter, Slot
from zo_runtime.serving.manifest import Manifest

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


def adapter(version: int = 3, name: str = "clinic", rank: int = 8) -> Adapter:
    manifest = Manifest(
        run="0" * 64,
        base_model="m",
        base_digest="d",
        version=version,
        step=10 * version,
        digest="1" * 64,
        rank=rank,
        modules=("q_proj", "up_proj"),
    )
    target = Target(version=version, sha256=f"{version:064x}")
    return Adapter(name, "log", target, Path(f"/cache/v{version}"), manifest)


class Client:
    """The part of vLLM's engine client that the engine uses."""

    def __init__(self, **lora: Any):
        config = {"max_loras": 2, "max_lora_rank": 8, "target_modules": None, "lora_dtype": "torch.bfloat16", **lora}
        self.vllm_config = SimpleNamespace(
            model_config=SimpleNamespace(model="folder", revision=None),
            lora_config=SimpleNamespace(**config) if lora != {"off": True} else None,
        )
        self.output_processor = SimpleNamespace(request_states={})
        self.added: list[Any] = []
        self.error: Exception | None = None

    async def add_lora(self, request: Any) -> bool:
        if self.error is not None:
            raise self.error
        self.added.append(request)
        return True


class Models:
    """The part of vLLM's models registry that the engine uses."""

    def __init__(self) -> None:
        import asyncio
        from collections import defaultdict

        self.lora_requests: dict[str, Any] = {}
        self.lora_resolver_lock = defaultdict(asyncio.Lock)

    def is_base_model(self, name: str) -> bool:
        return name == "base"


def engine(client: Client, models: Models | None = None) -> Any:
    from zo_runtime.vllm_ext.serving_engine import VllmEngine

    return VllmEngine(client, models or Models())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lora", "given", "sentence"),
    [
        ({"off": True}, {}, "started without LoRA; add --enable-lora"),
        ({"max_loras": 1}, {}, "--max-loras 1 leaves no room for a switch; give at least 2"),
        ({"max_lora_rank": 8}, {"rank": 16}, "--max-lora-rank 8 is below the adapter's rank; give at least 16"),
        ({"target_modules": ["q_proj"]}, {}, "--lora-target-modules leaves out up_proj, which the adapter changes"),
        ({}, {"name": "base"}, "base is the base model's name; give the desired state another"),
    ],
)
def test_a_server_that_cannot_serve_it_says_why(lora: dict, given: dict, sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        engine(Client(**lora)).require(adapter(**given))


def test_a_server_that_can_serve_it_is_content() -> None:
    fitting = engine(Client(target_modules=["q_proj", "up_proj", "o_proj"]))
    fitting.require(adapter())
    assert (fitting.dtype, fitting.slots) == ("bfloat16", 2)


def test_versions_have_names_and_numbers_of_their_own() -> None:
    """vLLM takes two requests of one name for the same, whatever their numbers."""
    from vllm.lora.request import LoRARequest

    from zo_runtime.vllm_ext.serving_engine import lora_request

    assert LoRARequest("clinic", 1, "/a") == LoRARequest("clinic", 2, "/b")  # the trap
    requests = [lora_request(adapter(version, name)) for version in range(1, 50) for name in ("clinic", "office")]
    assert len(set(requests)) == len({r.lora_int_id for r in requests}) == len(requests)
    assert all(2**30 <= r.lora_int_id < 2**31 for r in requests)
    assert lora_request(adapter(7)) == lora_request(adapter(7))
    assert requests[0].lora_name == f"clinic@v1-{1:064x}"[:22]


@pytest.mark.asyncio
async def test_a_switch_moves_the_name_only_once_the_engine_has_the_adapter() -> None:
    client, models = Client(), Models()
    under_test = engine(client, models)
    first = await under_test.switch(adapter(1))
    assert under_test.served("clinic") == first == Slot(first.number, Path("/cache/v1"))
    client.error = Exception("Call to add_lora method failed: no room")
    with pytest.raises(
        EngineFailed, match=r"vLLM did not load clinic@v2-.*: Call to add_lora method failed: no room"
    ):
        await under_test.switch(adapter(2))
    assert under_test.served("clinic") == first
    assert await under_test.switch(adapter(1)) == first  # is there already
    assert len(client.added) == 1


def test_requests_in_flight_are_counted_by_number() -> None:
    client = Client()
    under_test = engine(client)
    states = [SimpleNamespace(lora_request=SimpleNamespace(lora_int_id=n)) for n in (5, 5, 6)]
    client.output_processor.request_states = dict(enumerate([*states, SimpleNamespace(lora_request=None)]))
    assert [under_test.in_flight(n) for n in (5, 6, 7)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("plugins", "registered"),
    [(None, False), ("", False), ("other", False), ("zofinetune", True), ("other,zofinetune", True)],
)
def test_the_resolver_is_registered_only_when_named(
    monkeypatch: pytest.MonkeyPatch, plugins: str | None, registered: bool
) -> None:
    from vllm.lora.resolver import LoRAResolverRegistry

    from zo_runtime.vllm_ext.resolver import PLUGIN, register

    monkeypatch.setattr(LoRAResolverRegistry, "resolvers", {})
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    if plugins is not None:
        monkeypatch.setenv("VLLM_PLUGINS", plugins)
    register()
    assert (PLUGIN in LoRAResolverRegistry.resolvers) is registered


def test_the_plugin_loads_nothing_heavy_into_the_server() -> None:
    """numba above all: vLLM's CPU worker does not start in a process that has it."""
    program = """
import sys
import vllm.lora.resolver, vllm.entrypoints.openai.models.serving, vllm.v1.engine.async_llm
before = set(sys.modules)
import zo_runtime.vllm_ext.plugin, zo_runtime.vllm_ext.resolver
print(*(name.partition(".")[0] for name in set(sys.modules) - before))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert not {"numba", "llvmlite", "pyarrow", "boto3", "botocore", "safetensors"} & set(found.stdout.split())
