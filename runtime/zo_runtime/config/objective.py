"""`spec.objective`: how a record becomes a prompt, and what loss it has."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from zo_runtime.config.base import SpecModel

Template = Annotated[str, Field(min_length=1, max_length=65536)]


class Classification(SpecModel):
    """Cross-entropy over the label words, read at the end of the prompt."""

    prompt: Template
    """The prompt, with record fields in braces: `{sentence} It was`. Write `{{` for a brace."""
    label_field: Annotated[str, Field(min_length=1)] = "label"
    """Field that holds the label. Default: `label`."""
    labels: Annotated[dict[str, str], Field(min_length=2, max_length=1024)]
    """From the field's value to the label word that follows the prompt, leading space included:
    `{"0": " terrible", "1": " great"}`. A word may have several tokens."""
    single_token: bool = False
    """Demand that every label word is one token, so that a slip in a word is found at once. Default: false."""


class Completion(SpecModel):
    """Mean negative log-likelihood of the completion's tokens; the prompt's tokens do not count."""

    prompt: Template
    """The prompt, with record fields in braces."""
    completion: Template
    """The completion, with record fields in braces: ` {answer}`."""


class Objective(SpecModel):
    """Exactly one of the objectives."""

    classification: Classification | None = None
    """Choose among label words."""
    completion: Completion | None = None
    """Produce a text."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.classification is None) == (self.completion is None):
            raise ValueError("give exactly one of `classification` and `completion`")
        return self
