"""Asking Prometheus: every answer that is none gets a reason that stays the same, and no secret gets out."""

import asyncio
import base64
import math

import pytest

from fakes.prometheus import prometheus, vector
from zo_operator.cluster.asker import Asker
from zo_operator.cluster.prometheus import HttpPrometheus
from zo_operator.errors import Forbidden, NotFound, Unavailable
from zo_operator.reconcile.questions import Question
from zo_operator.reconcile.replicas import Problem

QUESTION = Question("errors", 1, "http://prometheus", "up", "ns")


def ask(answer, token=None, wanted=None, query="up", timeout=0.5):
    async def scene():
        async with prometheus(answer=answer, token=wanted) as source:
            reader = HttpPrometheus(timeout)
            try:
                return await reader.query(source.url + "/", query, token), source
            finally:
                await reader.close()

    return asyncio.run(scene())


def body(kind, result):
    return 200, {"status": "success", "data": {"resultType": kind, "result": result}}


def test_the_values_of_an_instant_query():
    query = 'sum(rate(x{pod=~"a|b[.]c", le="+Inf"}[1m])) > bool 0 & "ü"'
    reply, source = ask((0.25, 3.0), query=query)
    assert reply == (0.25, 3.0)
    assert source.queries == [query]
    assert ask(body("scalar", [1.0, "7"]))[0] == (7.0,)
    assert ask((200, vector()))[0] == ()
    assert ask((math.inf,))[0] == (math.inf,)
    (nan,) = ask((200, vector("NaN")))[0]
    assert math.isnan(nan)


def test_a_bearer_token():
    assert ask(1.0, token="s3cret", wanted="s3cret")[0] == (1.0,)
    for token in (None, "wrong"):
        reply, _ = ask(1.0, token=token, wanted="s3cret")
        assert reply.reason == "Unauthorized"
        assert "wrong" not in reply.message


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (body("matrix", []), "BadAnswer", "a matrix, not an instant vector"),
        (body("string", [1.0, "x"]), "BadAnswer", "a string, not"),
        (body("vector", [{"metric": {}}]), "BadAnswer", "no numbers"),
        (body("vector", {"value": 1}), "BadAnswer", "no numbers"),
        (body("scalar", [1.0, "many"]), "BadAnswer", "no numbers"),
        ((200, []), "BadAnswer", "something else"),
        ((200, {"status": "success", "data": "x"}), "BadAnswer", "something else"),
        ((200, "<html>secret page</html>"), "BadAnswer", "something else"),
        ((200, "x" * 3_000_000), "BadAnswer", "more than"),
        ((404, "secret page"), "BadAnswer", "answers 404: is this the URL of Prometheus?"),
        ((302, "elsewhere"), "BadAnswer", "answers 302"),
        ((400, {"status": "error", "errorType": "bad_data", "error": "parse\nerror"}), "BadQuery", "parse error"),
        ((503, {"status": "error", "errorType": "timeout", "error": "x" * 999}), "QueryFailed", "503: xxx"),
        ((500, {"status": "error", "error": {"secret": 1}}), "BadAnswer", "answers 500"),
    ],
)  # fmt: skip
def test_every_other_answer_is_a_problem(answer, reason, words):
    reply, _ = ask(answer)
    assert isinstance(reply, Problem)
    assert reply.reason == reason
    assert words in reply.message
    assert "secret" not in reply.message
    assert len(reply.message) < 400


def test_nobody_there():
    async def scene():
        async with prometheus() as source:
            url = source.url
        reader = HttpPrometheus(0.5)
        replies = [await reader.query(where, "up", None) for where in (url, url, "http://no-such-host.invalid:9090")]
        await reader.close()
        return replies

    one, same, other = asyncio.run(scene())
    assert one == same
    assert one.reason == other.reason == "Unreachable"
    assert "Connection refused" in one.message


class Source:
    def __init__(self, reply=(1.0,)):
        self.reply, self.asked, self.tokens = reply, [], []

    async def query(self, url, query, token):
        self.asked.append((url, query))
        self.tokens.append(token)
        await asyncio.sleep(0)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


class Secrets:
    def __init__(self, answer):
        self.answer = answer

    async def get(self, _kind, namespace, _name):
        assert namespace == "ns"
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"data": self.answer}


def with_asker(source, check, secrets=None):
    async def scene():
        touched = []
        asker = Asker(Secrets(secrets), source, touched.append)
        try:
            await check(asker, touched)
        finally:
            asker.close()

    asyncio.run(scene())


def test_each_question_is_asked_once_and_kept_as_long_as_it_is_asked():
    source = Source()

    async def check(asker, touched):
        for _ in range(3):
            asker.follow("u", [QUESTION])
            await asyncio.sleep(0.01)
        assert len(source.asked) == 1
        assert touched == ["u"]
        assert asker.latest("u") == {QUESTION: (1.0,)}
        again = Question("errors", 2, "http://prometheus", "up", "ns")
        asker.follow("u", [again])
        assert asker.latest("u") == {}
        await asyncio.sleep(0.01)
        assert asker.latest("u") == {again: (1.0,)}
        asker.follow("u", ())
        assert asker.latest("u") == {}
        assert len(source.asked) == 2

    with_asker(source, check)


def test_a_question_that_is_dropped_stays_unanswered():
    source = Source()

    async def check(asker, touched):
        asker.follow("u", [QUESTION])
        asker.follow("u", ())
        await asyncio.sleep(0.01)
        assert touched == []
        assert asker.latest("u") == {}

    with_asker(source, check)


def test_what_nobody_foresaw_is_an_answer_too(caplog):
    async def check(asker, _):
        asker.follow("u", [QUESTION])
        await asyncio.sleep(0.01)
        assert asker.latest("u")[QUESTION].reason == "InternalError"

    with_asker(Source(UnicodeError("label too long")), check)
    assert "question failed" in caplog.text


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (Forbidden(403, "no"), "SecretForbidden"), (NotFound(404, "no"), "SecretNotFound"), ({}, "SecretKeyNotFound"),
        ({"k": "***"}, "SecretInvalid"), (Unavailable(503, "down"), "ApiUnavailable"),
    ],
)  # fmt: skip
def test_a_token_that_cannot_be_had_is_told_and_nothing_is_asked(secret, reason):
    source = Source()
    question = Question("errors", 1, "http://prometheus", "up", "ns", ("prom", "k"))

    async def check(asker, _):
        asker.follow("u", [question])
        await asyncio.sleep(0.01)
        reply = asker.latest("u")[question]
        assert reply.reason == reason
        assert "check errors: tokenSecretRef" in reply.message

    with_asker(source, check, secret)
    assert source.asked == []


def test_a_token_is_read_for_each_question():
    source = Source()
    question = Question("errors", 1, "http://prometheus", "up", "ns", ("prom", "k"))

    async def check(asker, _):
        asker.follow("u", [question])
        await asyncio.sleep(0.01)

    with_asker(source, check, {"k": base64.b64encode(b"t0ken\n").decode()})
    assert source.tokens == ["t0ken"]
