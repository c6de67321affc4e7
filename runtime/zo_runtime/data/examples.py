"""An example ready to be scored: token ids only, so that it can cross a process or a network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One scoring task.

    `prompt` holds P >= 1 token ids; `candidates` holds C tuples of at least one token id each, every one a
    possible continuation of the prompt; `target` is the index of the true one. Classification has one
    candidate per label and a cross-entropy over them; completion has C = 1 and the mean negative
    log-likelihood of its tokens.
    """

    prompt: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    target: int
