"""The HTTP side of asking a replica: every answer that is none gets a reason that stays the same."""

import asyncio
import contextlib
import socket

import pytest

from zo_operator.cluster.replicas import HttpReplicaReader
from zo_operator.reconcile.replicas import Problem
from zo_runtime.serving.contract import ServedAdapters

GOOD = ServedAdapters(pod="p", adapters=()).model_dump_json(by_alias=True)


@contextlib.asynccontextmanager
async def server(answer):
    """Answers every request with raw bytes, or whatever the function does; remembers the requests."""
    requests, connections = [], []

    async def serve(reader, writer):
        connections.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await answer(writer) if callable(answer) else writer.write(answer)
            await writer.drain()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], requests
    await asyncio.gather(*connections)


def response(status, body, *headers):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(head).encode() + body.encode()


async def ask(port, key=None, timeout=0.5):
    reader = HttpReplicaReader(timeout)
    try:
        return await reader.read("127.0.0.1", port, key)
    finally:
        await reader.close()


async def asked(answer, key=None):
    async with server(answer) as (port, requests):
        return await ask(port, key), requests


def test_a_good_answer_and_what_is_sent_for_it():
    found, (request,) = asyncio.run(asked(response("200 OK", GOOD), "s3cret"))
    assert found == ServedAdapters(pod="p", adapters=())
    assert request.startswith("GET /zo/v1/adapters HTTP/1.1")
    assert "Authorization: Bearer s3cret" in request
    _, (request,) = asyncio.run(asked(response("200 OK", GOOD)))
    assert "Authorization" not in request


def test_an_answer_in_small_pieces_is_read_to_its_end():
    async def slowly(writer):
        for byte in response("200 OK", GOOD):
            writer.write(bytes([byte]))
            await writer.drain()

    found, _ = asyncio.run(asked(slowly))
    assert isinstance(found, ServedAdapters)


async def hang(writer):
    await asyncio.sleep(1)


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            writer.write(b" " * 65536)
            await writer.drain()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response("401 Unauthorized", ""), "Unauthorized"), (response("403 Forbidden", ""), "Unauthorized"),
        (response("404 Not Found", ""), "PluginMissing"), (response("500 Oops", ""), "BadAnswer"),
        (response("302 Found", "", "Location: http://127.0.0.1:1/"), "BadAnswer"),
        (response("200 OK", "<html>"), "BadAnswer"), (response("200 OK", "[]"), "BadAnswer"),
        (response("200 OK", '{"pod": "p", "adapters": [{"name": "m", "state": "Odd"}]}'), "BadAnswer"),
        (response("200 OK", '{"pod": 1}'), "BadAnswer"), (b"nonsense\r\n\r\n", "Unreachable"), (b"", "Unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "Unreachable"),
        (hang, "TimedOut"), (endless, "BadAnswer"),
    ],
)  # fmt: skip
def test_every_other_answer_has_a_reason(answer, reason):
    first, _ = asyncio.run(asked(answer))
    assert isinstance(first, Problem)
    assert first.reason == reason
    assert "http://127.0.0.1:" in first.message
    assert len(first.message) < 300


def test_nobody_there():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = asyncio.run(ask(port))
    assert first == asyncio.run(ask(port)), "the same trouble in the same words"
    assert first.reason == "Unreachable"


def test_a_replica_that_wants_a_key_says_where_one_is_given():
    without, _ = asyncio.run(asked(response("401 Unauthorized", "")))
    assert without.message.endswith("give spec.serving.apiKeySecretRef")
    wrong, _ = asyncio.run(asked(response("401 Unauthorized", ""), "s3cret"))
    assert "s3cret" not in wrong.message
