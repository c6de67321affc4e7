"""Asking what the plans of resources want to know of Prometheus, each question once, beside the reconciles."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from zo_operator.cluster.client import Client
from zo_operator.cluster.prometheus import MetricsSource
from zo_operator.cluster.secrets import read_secret
from zo_operator.errors import ApiError
from zo_operator.reconcile.questions import Question, Reply
from zo_operator.reconcile.replicas import Problem

logger = logging.getLogger(__name__)

# Questions at the same time.
_PARALLEL = 16


@dataclass(slots=True)
class _Asked:
    tasks: dict[Question, asyncio.Task[None]] = field(default_factory=dict)
    replies: dict[Question, Reply] = field(default_factory=dict)


class Asker:
    """Keeps each reply for as long as its question is asked. `touched` is called with the uid that has a new one."""

    def __init__(self, client: Client, source: MetricsSource, touched: Callable[[str], None]) -> None:
        self._client, self._source, self._touched = client, source, touched
        self._asked: dict[str, _Asked] = {}
        self._free = asyncio.Semaphore(_PARALLEL)

    def follow(self, uid: str, questions: Iterable[Question]) -> None:
        """Ask these questions of one resource, and forget all others."""
        wanted = dict.fromkeys(questions)
        known = self._asked.get(uid) or _Asked()
        for question in [one for one in known.tasks if one not in wanted]:
            known.tasks.pop(question).cancel()
            known.replies.pop(question, None)
        for question in wanted:
            if question not in known.tasks:
                known.tasks[question] = asyncio.create_task(self._ask(uid, known, question))
        if wanted:
            self._asked[uid] = known
        else:
            self._asked.pop(uid, None)

    def latest(self, uid: str) -> Mapping[Question, Reply]:
        """The replies so far."""
        known = self._asked.get(uid)
        return dict(known.replies) if known is not None else {}

    def close(self) -> None:
        """Ask nothing any more."""
        for uid in list(self._asked):
            self.follow(uid, ())

    async def _ask(self, uid: str, asked: _Asked, question: Question) -> None:
        async with self._free:
            [reply] = await asyncio.gather(self._reply(question), return_exceptions=True)
        if isinstance(reply, BaseException):  # nobody foresaw it: the check is to say so, not to wait for ever
            logger.error("question failed", extra={"uid": uid, "check": question.check}, exc_info=reply)
            reply = Problem("InternalError", f"{type(reply).__name__} in the operator: see its log")
        asked.replies[question] = reply
        self._touched(uid)

    async def _reply(self, question: Question) -> Reply:
        if question.token is None:
            return await self._source.query(question.url, question.query, None)
        where = f"check {question.check}: tokenSecretRef"
        try:
            token = await read_secret(self._client, question.namespace, *question.token, where)
        except ApiError as error:
            return Problem(error.reason, f"{where}: {error.message}")
        return token if isinstance(token, Problem) else await self._source.query(question.url, question.query, token)
