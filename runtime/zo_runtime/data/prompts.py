"""From records to examples: templates are filled in and turned into token ids.

**The boundary between prompt and continuation.** The prompt and each continuation (label word or completion)
are tokenized apart and then joined. Tokenizing them together would let a token reach over the boundary, with
two bad effects: the prompt's ids would depend on the candidate, so that the candidates of one example could
not share a prompt (and its cached keys and values), and scores of different candidates would be conditioned
on different prompts. What is learned this way is also what is served: a server tokenizes the prompt alone and
appends whole tokens. Write the space between the two at the start of the continuation, as most vocabularies do.

Prompts get the special tokens that the model's tokenizer adds to a text; continuations get none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zo_runtime.config.objective import Classification, Completion, Objective
from zo_runtime.data.examples import Example
from zo_runtime.data.formats import Record
from zo_runtime.data.quarantine import Entry, Reason, Unfit, shorten
from zo_runtime.data.template import Template, field_text
from zo_runtime.data.tokenizer import Tokenizer, encode_all
from zo_runtime.errors import InvalidSpec

Ids = tuple[int, ...]
_SPEC = "spec.objective"


@dataclass(frozen=True, slots=True)
class Draft:
    """A filled-in example that is not tokenized yet: C continuations as ids, or one as text."""

    prompt: str
    continuation: str | tuple[Ids, ...]
    target: int


class Drafter(Protocol):
    """An objective's way from a record to a draft."""

    fields: tuple[tuple[str, str], ...]
    """(place in the document, field it names), for every field that records must have."""

    def draft(self, record: Record) -> Draft:
        """Fill in the record. Raise `Unfit`."""


class ClassificationDrafter:
    """The candidates are the label words, the same for all records."""

    def __init__(self, objective: Classification, candidates: tuple[Ids, ...]) -> None:
        """`candidates` are the ids of the label words, in the order of `labels`."""
        where = f"{_SPEC}.classification"
        self._prompt = Template.parse(objective.prompt, f"{where}.prompt")
        self._label_field = objective.label_field
        self._candidates = candidates
        self._targets = {label: index for index, label in enumerate(objective.labels)}
        self.fields = (
            *((f"{where}.prompt", name) for name in self._prompt.fields),
            (f"{where}.labelField", objective.label_field),
        )

    def draft(self, record: Record) -> Draft:
        """Fill in the record. Raise `Unfit`."""
        prompt = self._prompt.render(record.values)
        label = field_text(record.values, self._label_field)
        if label not in self._targets:
            known = ", ".join(map(repr, list(self._targets)[:10]))
            raise Unfit(Reason.UNKNOWN_LABEL, f"label {shorten(label)!r} is none of {known}")
        return Draft(prompt, self._candidates, self._targets[label])


class CompletionDrafter:
    """The only candidate is the record's own completion."""

    def __init__(self, objective: Completion) -> None:
        where = f"{_SPEC}.completion"
        self._prompt = Template.parse(objective.prompt, f"{where}.prompt")
        self._completion = Template.parse(objective.completion, f"{where}.completion")
        self.fields = (
            *((f"{where}.prompt", name) for name in self._prompt.fields),
            *((f"{where}.completion", name) for name in self._completion.fields),
        )

    def draft(self, record: Record) -> Draft:
        """Fill in the record. Raise `Unfit`."""
        return Draft(self._prompt.render(record.values), self._completion.render(record.values), 0)


def drafter_for(objective: Objective, tokenizer: Tokenizer) -> Drafter:
    """The drafter of the one objective that is given. Raise `InvalidSpec` for templates and label words."""
    if objective.classification is not None:
        return ClassificationDrafter(objective.classification, label_tokens(objective.classification, tokenizer))
    assert objective.completion is not None, "the model has validated that exactly one is given"
    return CompletionDrafter(objective.completion)


def field_checker(objective: Objective) -> Drafter:
    """A drafter that tells whether a record has what the objective needs, but knows no tokens: use no draft of it."""
    if objective.classification is not None:
        return ClassificationDrafter(objective.classification, ())
    assert objective.completion is not None, "the model has validated that exactly one is given"
    return CompletionDrafter(objective.completion)


def label_tokens(objective: Classification, tokenizer: Tokenizer) -> tuple[Ids, ...]:
    """Token ids of each label word, in the order of `labels`; C tuples.

    Raise `InvalidSpec` if a word has no token, if two words have the same tokens, or, with `single_token`, if
    a word has several.
    """
    words = list(objective.labels.items())
    encoded = encode_all(tokenizer, [word for _, word in words], add_special_tokens=False)
    seen: dict[Ids, str] = {}
    for (label, word), ids in zip(words, map(tuple, encoded), strict=True):
        where = f"{_SPEC}.classification.labels[{label!r}]: the label word {word!r}"
        if not ids:
            raise InvalidSpec(f"{where} has no token; choose a word with letters")
        if objective.single_token and len(ids) > 1:
            raise InvalidSpec(
                f"{where} splits into {len(ids)} tokens, {list(ids)}, where singleToken demands one; choose another "
                "word (mind the leading space), or drop singleToken"
            )
        if ids in seen:
            raise InvalidSpec(
                f"{where} has the same tokens as that of {seen[ids]!r}, {list(ids)}; choose another word"
            )
        seen[ids] = label
    return tuple(seen)


class ExampleBuilder:
    """Turns records into examples, many at a time; equal token ids share one object to save memory."""

    def __init__(self, drafter: Drafter, tokenizer: Tokenizer, max_length: int) -> None:
        self._drafter, self._tokenizer, self._max_length = drafter, tokenizer, max_length
        self._shared: dict[int, int] = {}

    def build(self, records: Sequence[Record]) -> list[Example | Entry]:
        """An example for each record, or the quarantine entry that says why not, in the records' order."""
        drafts = [self._draft(record) for record in records]
        fit = [draft for draft in drafts if isinstance(draft, Draft)]
        prompts = iter(encode_all(self._tokenizer, [draft.prompt for draft in fit], add_special_tokens=True))
        texts = [draft.continuation for draft in fit if isinstance(draft.continuation, str)]
        completions = iter(encode_all(self._tokenizer, texts, add_special_tokens=False))
        built: list[Example | Entry] = []
        for record, draft in zip(records, drafts, strict=True):
            if isinstance(draft, Entry):
                built.append(draft)
                continue
            candidates = draft.continuation
            if isinstance(candidates, str):
                candidates = (self._ids(next(completions)),)
            try:
                built.append(self._example(self._ids(next(prompts)), candidates, draft.target))
            except Unfit as unfit:
                built.append(Entry.of(record.origin, unfit, record.values))
        return built

    def _draft(self, record: Record) -> Draft | Entry:
        try:
            return self._drafter.draft(record)
        except Unfit as unfit:
            return Entry.of(record.origin, unfit, record.values)

    def _example(self, prompt: Ids, candidates: tuple[Ids, ...], target: int) -> Example:
        if not prompt or not all(candidates):
            raise Unfit(Reason.EMPTY_TEXT, "the prompt or the completion has no token")
        length = len(prompt) + max(map(len, candidates))
        if length > self._max_length:
            raise Unfit(Reason.TOO_LONG, f"{length} tokens, more than the {self._max_length} of spec.model.maxLength")
        return Example(prompt, candidates, target)

    def _ids(self, ids: Sequence[int]) -> Ids:
        return tuple(map(self._shared.setdefault, ids, ids))
