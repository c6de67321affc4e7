"""A replica over HTTP: what is sent, and what becomes of every answer."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml

from fakes.toy import SIZE, ToyModel, ToyTokenizer
from fakes.toy_manifest import manifest
from fakes.toy_rounds import deliver, order, source
from fakes.toy_rounds import log_of as log_of_rounds
from zo_runtime.adapter.replay import replay
from zo_runtime.config.load import parse_document
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.chain import load_link
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import EngineFailed, InvalidSpec, LogMismatch
from zo_runtime.job import Job
from zo_runtime.rounds.checking import check_replica
from zo_runtime.rounds.replica import Replica
from zo_runtime.rounds.replica_check import Bounds
from zo_runtime.serving.contract import Target
from zo_runtime.serving.manifest import version_label
from zo_runtime.storage.local import LocalStore

STRICT = Bounds(0.0, 0.001)
TARGET = Target(version=3, sha256="ab" * 32)
LABEL = version_label(TARGET)
TWO = Example((1, 2), ((3,), (4, 5)), 0)
ONE = Example((1, 2), ((3, 4),), 0)


class Server(ThreadingHTTPServer):
    """Answers like vLLM's `/v1/completions`, from a function of text and token."""

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.requests, self.keys = answer, [], []

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body))
        self.server.keys.append(self.headers.get("Authorization"))
        status, answer = self.server.answer(body)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_): ...


def vllm(score, model=f"assistant@{LABEL}"):
    """The answers of a server whose log-probabilities are `score(text, token)`."""

    def answer(body):
        text = tuple(body["prompt"])
        choice = {"index": 0, "text": "x"}
        if "logprob_token_ids" in body:
            row = {f"token_id:{token}": score(text, token) for token in body["logprob_token_ids"]}
            choice["logprobs"] = {"top_logprobs": [row | {"token_id:99": -0.1}]}
        else:
            rows = [{str(token): {"logprob": score(text[:k], token)}} for k, token in enumerate(text)]
            choice["prompt_logprobs"] = [None, *rows[1:]]
        return 200, {"model": model, "choices": [choice]}

    return answer


def judged(answer, examples, key=None):
    with (
        Server(answer) as server,
        Replica(f"http://127.0.0.1:{server.server_port}/", "assistant", LABEL, key) as replica,
    ):
        return replica.judge(examples), server


def test_what_is_asked_and_what_it_means():
    table = {((1, 2), 3): math.log(0.5), ((1, 2), 4): math.log(0.25), ((1, 2, 4), 5): math.log(0.5)}
    (two, one), server = judged(vllm(lambda text, token: table.get((text, token), -7.0)), [TWO, ONE], "s3cret")
    assert two == (pytest.approx(math.log(0.625) - math.log(0.5)), True)
    assert one == (pytest.approx((-math.log(0.5) + 7.0) / 2), None)
    assert {path for path, _ in server.requests} == {"/v1/completions"}
    assert set(server.keys) == {"Bearer s3cret"}
    first = next(body for _, body in server.requests if body.get("logprob_token_ids") == [3, 4])
    assert first == {
        "model": "assistant", "prompt": [1, 2], "max_tokens": 1, "temperature": 0, "logprobs": 1,
        "logprob_token_ids": [3, 4], "return_tokens_as_token_ids": True,
    }  # fmt: skip
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (vllm(lambda *_: -1.0, model="assistant@v2-abababababab"), EngineFailed, "has switched meanwhile"),
        (vllm(lambda *_: -1.0, model="assistant"), EngineFailed, "has switched meanwhile"),
        (lambda _: (401, "no"), InvalidSpec, "ZO_REPLICA_API_KEY"),
        (lambda _: (400, "too long"), InvalidSpec, "answers 400: too long"),
        (lambda _: (404, "no such model"), EngineFailed, "answers 404: no such model"),
        (lambda _: (500, "x" * 9999), EngineFailed, "answers 500: xxx"),
        (lambda _: (200, "<html>"), EngineFailed, "JSON"),
        (lambda _: (200, []), EngineFailed, "is it vLLM"),
        (lambda _: (200, {"model": f"assistant@{LABEL}", "choices": []}), EngineFailed, "is it vLLM"),
        (lambda _: (302, ""), EngineFailed, "answers 302"),
    ],
)
def test_other_answers_are_errors(answer, error, words):
    with pytest.raises(error, match=words) as caught:
        judged(answer, [TWO])
    assert len(str(caught.value)) < 600


def test_a_busy_server_is_asked_again():
    answers = iter([(503, "busy"), (429, "busy")])
    good = vllm(lambda *_: -1.0)
    (found,), server = judged(lambda body: next(answers, None) or good(body), [Example((1,), ((2,), (3,)), 0)])
    assert found == (pytest.approx(math.log(2)), True)
    assert len(server.requests) == 3


def test_nobody_there():
    with Server(vllm(lambda *_: -1.0)) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    with Replica(url, "assistant", LABEL) as replica, pytest.raises(EngineFailed, match="does not answer"):
        replica._pool.connection_pool_kw["retries"] = 0
        replica.judge([TWO])


# -- the whole way, with a model of a few words


def log_of(folder, **changes):
    """A trained log, its document, its last version."""
    document, _ = parse_document(yaml.safe_dump(manifest(folder) | changes), "test")
    Job(document, ToyModel(), lambda: False).run()
    store = LocalStore(folder / "log")
    link = load_link(store, 3)
    return document.spec, store, Target(version=3, sha256=link.sha256), link.version.evaluation


def toy_server(store, target, *, version=3):
    """A server whose bank is that of a version, whatever it calls itself."""
    bank = replay(LogReader(store), version=version)
    weights = sum(bank.factor(0, k).astype(float) @ bank.basis(0, k) for k in range(bank.layout.subspaces))

    def score(text, token):
        return float((weights @ (np.bincount(text, minlength=SIZE) / len(text)))[token - 30])

    return Server(vllm(score, model=f"assistant@{version_label(target)}"))


def check(spec, target, server, bounds=STRICT, examples=None):
    url = f"http://127.0.0.1:{server.server_port}"
    with Replica(url, "assistant", version_label(target)) as replica:
        return check_replica(spec, target, ToyTokenizer(), replica, bounds, examples)


def test_a_replica_that_serves_the_version_has_the_logs_numbers(tmp_path):
    spec, store, target, logged = log_of(tmp_path)
    with toy_server(store, target) as server:
        found = check(spec, target, server)
        assert found.passed
        assert (found.accuracy, found.examples) == (logged.accuracy, logged.examples)
        assert found.loss == pytest.approx(logged.loss, abs=1e-9)
        assert check(spec, target, server, examples=20).examples == 20
        assert len(server.requests) == logged.examples + 20


def test_a_replica_that_serves_something_else_under_the_name_is_found_out(tmp_path):
    spec, store, target, logged = log_of(tmp_path)
    assert logged.accuracy > 0.8
    with toy_server(store, target, version=1) as server:
        found = check(spec, target, server, Bounds(0.02))
    assert (found.passed, found.reason) == (False, "AccuracyDropped")
    assert found.accuracy < logged.accuracy - 0.02


def test_other_data_than_the_logs_are_a_draw_of_their_own(tmp_path):
    spec, store, target, _ = log_of(tmp_path)
    with toy_server(store, target) as server:
        assert "0 less allowed" in check(spec, target, server).message
        data = tmp_path / "messages.jsonl"
        data.write_text("".join(data.read_text().splitlines(keepends=True)[:250]))
        found = check(spec, target, server, Bounds(0.0, 0.1))
        assert found.passed
        assert "accuracy" in found.message
        assert "0 less allowed" not in found.message


def test_a_rounds_version_is_scored_on_the_rounds_own_data(tmp_path):
    """Data that came later is in `spec.data` too, and no part of what the version was evaluated on."""
    body = source(tmp_path)
    deliver(tmp_path, "first.jsonl", 200, seed=1)
    document, _ = parse_document(yaml.safe_dump({**body, "round": order(tmp_path, 1)}), "test")
    Job(document, ToyModel(), lambda: False).run()
    store = LocalStore(tmp_path / "log")
    last = log_of_rounds(tmp_path).history().links[-1]
    target = Target(version=last.version.number, sha256=last.sha256)
    deliver(tmp_path, "second.jsonl", 300, seed=2)
    spec = parse_document(yaml.safe_dump(body), "test")[0].spec
    with toy_server(store, target, version=target.version) as server:
        found = check(spec, target, server)
    assert found.passed
    assert "accuracy" in found.message
    assert " 0 less allowed" in found.message
    assert found.examples == last.version.evaluation.examples


def test_what_cannot_be_compared_is_told(tmp_path):
    spec, store, target, _ = log_of(tmp_path)
    with toy_server(store, target) as server:
        with pytest.raises(LogMismatch, match=r"versions/0*3\.json"):
            check(spec, target.model_copy(update={"sha256": "0" * 64}), server)
        assert server.requests == []
