"""A serving replica as a source of log-probabilities, over its OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import urllib3

from zo_runtime.data.examples import Example
from zo_runtime.errors import EngineFailed, InvalidSpec
from zo_runtime.rounds.replica_check import Ask, asks, judge
from zo_runtime.scoring.protocol import Judged

ROUTE = "/v1/completions"
# The replica serves users meanwhile, so few requests at once.
_PARALLEL = 4
_TIMEOUT = urllib3.Timeout(connect=10.0, read=120.0)
_SHOWN = 300


class Replica:
    """Scores examples through one model name of one server. Every answer must be of the version `label`."""

    def __init__(self, url: str, model: str, label: str, api_key: str | None = None):
        self._url, self._model, self._wanted = url.rstrip("/") + ROUTE, model, f"{model}@{label}"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        retry = urllib3.Retry(
            total=5,
            redirect=0,
            backoff_factor=0.5,
            status_forcelist=(429, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        self._pool = urllib3.PoolManager(maxsize=_PARALLEL, headers=headers, timeout=_TIMEOUT, retries=retry)

    def judge(self, examples: Sequence[Example], on_progress: Callable[[int], None] | None = None) -> list[Judged]:
        """Loss of each example, and whether its true candidate scored best.

        Raises:
            EngineFailed: the server does not answer, or another version than the wanted one does.
            InvalidSpec: the server wants another key, or does not take such requests.
        """
        with ThreadPoolExecutor(_PARALLEL) as workers:
            found = []
            for example in workers.map(self._judge, examples):
                found.append(example)
                if on_progress is not None:
                    on_progress(len(found))
        return found

    def _judge(self, example: Example) -> Judged:
        return judge(example, [self._answer(ask) for ask in asks(example)])

    def _answer(self, ask: Ask) -> list[float]:
        request: dict[str, Any] = {
            "model": self._model,
            "prompt": list(ask.tokens),
            "max_tokens": 1,
            "temperature": 0,
            "return_tokens_as_token_ids": True,
        }
        if ask.wanted:
            request |= {"logprobs": 1, "logprob_token_ids": list(ask.wanted)}
        else:
            request |= {"prompt_logprobs": 0}
        answer = self._post(request)
        try:
            self._require_version(answer["model"])
            (choice,) = answer["choices"]
            if ask.wanted:
                (row,) = choice["logprobs"]["top_logprobs"]
                return [float(row[f"token_id:{token}"]) for token in ask.wanted]
            rows = choice["prompt_logprobs"][-ask.tail :]
            tail = ask.tokens[-ask.tail :]
            return [float(row[str(token)]["logprob"]) for row, token in zip(rows, tail, strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise EngineFailed(
                f"{self._url} answers without the log-probabilities that were asked for ({error!r}): is it vLLM, of "
                "the version that zofinetune is for?"
            ) from error

    def _require_version(self, model: object) -> None:
        if model != self._wanted:
            raise EngineFailed(
                f"{self._url} answers with {model}, not with {self._wanted}: it has switched meanwhile"
            )

    def _post(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._pool.request("POST", self._url, json=request)
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise EngineFailed(f"{self._url} does not answer: {' '.join(str(reason).split())[:_SHOWN]}") from error
        if response.status in (401, 403):
            raise InvalidSpec(f"{self._url} answers {response.status}: give the replica's key in ZO_REPLICA_API_KEY")
        if response.status != 200:
            words = " ".join(response.data.decode(errors="replace").split())[:_SHOWN]
            kind = InvalidSpec if response.status == 400 else EngineFailed
            raise kind(f"{self._url} answers {response.status}: {words}")
        try:
            answer = response.json()
        except ValueError as error:
            raise EngineFailed(f"{self._url} does not answer with JSON: is this vLLM's API?") from error
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        """Release the connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
