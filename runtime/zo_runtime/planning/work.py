"""What scoring costs, counted: requests, tokens and what grows with them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zo_runtime.data.examples import Example
from zo_runtime.planning.facts import ModelFacts
from zo_runtime.scoring.plan import choose_mode, plan_queries
from zo_runtime.zo.layout import BankLayout


@dataclass(frozen=True, slots=True)
class Work:
    """Requests to an engine, in numbers. `squares` sums the squares of their lengths, `rows` the positions whose
    logits are computed."""

    requests: float
    tokens: float
    squares: float
    rows: float

    def times(self, count: float) -> Work:
        """So much work `count` times over."""
        return Work(self.requests * count, self.tokens * count, self.squares * count, self.rows * count)


def example_work(examples: Sequence[Example], compact: bool) -> Work:
    """The mean work of one example at one state. `compact`: the engine scores chosen prompt tokens alone."""
    mode = choose_mode(examples, compact)
    queries = plan_queries(examples, mode)
    lengths = [len(query.tokens) for query in queries]
    if mode == "prompt_logprobs":
        rows = sum(lengths)
    else:
        rows = len(queries) if mode == "last_token" else sum(len(query.wanted) for query in queries)
    total = Work(len(queries), sum(lengths), sum(n * n for n in lengths), rows)
    return total.times(1 / len(examples))


@dataclass(frozen=True, slots=True)
class Operations:
    """Floating-point operations of some work, by what they are for."""

    linear: float
    attention: float
    head: float
    adapters: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.linear + self.attention + self.head + self.adapters


def operations(facts: ModelFacts, layout: BankLayout, rank: int, work: Work) -> Operations:
    """Count them: a multiply-add is two. `rank` is that of the adapters' products.

    Attention is causal: a query meets half of the keys, in two products. Norms, activations and softmax are left
    out, as usual.
    """
    ends = sum(t.in_features + t.out_features for t in layout.tensors)
    return Operations(
        linear=2 * facts.weights_a_token * work.tokens,
        attention=2 * facts.layers * facts.heads * facts.head_dim * work.squares,
        head=2 * facts.vocabulary * facts.hidden * work.rows,
        adapters=2 * rank * ends * work.tokens,
    )
