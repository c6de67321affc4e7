"""`zo explain`: every field of the document is explained, and a wrong name leads to the right one."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field as Constraint

from zo_runtime.config.base import SpecModel
from zo_runtime.config.explain import explain
from zo_runtime.config.fields import field_tree, fields_by_path, nearest
from zo_runtime.errors import InvalidSpec


def test_a_leaf_shows_type_default_bounds_and_meaning() -> None:
    text = explain("spec.optimizer.rank")
    assert text.splitlines()[0] == "spec.optimizer.rank"
    for line in ("type      integer", "default   2", "allowed   at least 1, at most 256", "required  no"):
        assert line in text
    assert "Rank r of one subspace." in text


def test_choices_and_the_odd_types_are_named() -> None:
    assert "one of    constant, cosine" in explain("spec.optimizer.schedule")
    assert "map of string to string" in explain("spec.objective.classification.labels")
    assert "list of string" in explain("spec.optimizer.targetModules")
    assert "power of two" in explain("spec.optimizer.epsilon")


def test_an_object_lists_its_children() -> None:
    text = explain("spec.optimizer")
    assert "LoZO on a bounded bank" in text
    assert "steps          integer         (required)" in text
    assert "`zo explain spec.optimizer.steps`" in text


def test_without_a_path_it_lists_spec() -> None:
    assert explain() == explain("spec")
    assert "optimizer" in explain()


def test_every_field_is_documented_and_explained_within_the_width() -> None:
    for path, field in fields_by_path().items():
        assert field.description, path
        text = explain(path)
        assert "\n\n" in text
        assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("path", "guess"),
    [
        ("rank", "spec.optimizer.rank"),
        ("spec.optimizer.rnk", "spec.optimizer.rank"),
        ("spec.optimizer.batch_size", "spec.optimizer.batchSize"),
        ("spec.optimiser.rnak", "spec.optimizer.rank"),
        ("spec.data.format", "spec.data.train.format"),
        ("SPEC.Storage", "spec.storage"),
        ("spec.optimizer.zzzzz", "spec.optimizer"),
        ("spec.optimizer.rank.x", "spec.optimizer.rank"),
        ("", "spec"),
        ("zzz.yyy", "spec"),
    ],
)
def test_an_unknown_path_names_the_nearest_field(path: str, guess: str) -> None:
    with pytest.raises(InvalidSpec, match=f"the nearest one is {guess}$"):
        explain(path)


def test_a_cluster_field_points_to_kubectl() -> None:
    with pytest.raises(InvalidSpec, match=r"`kubectl explain zofinetune\.spec\.serving\.replicas`"):
        explain("spec.serving.replicas")


@given(st.text(max_size=30) | st.from_regex(r"spec(\.[a-z]{1,9}){0,4}", fullmatch=True))
def test_any_path_is_explained_or_refused(path: str) -> None:
    try:
        assert explain(path).startswith(path)
    except InvalidSpec as error:
        guess = str(error).rpartition(" ")[2]
        assert guess in fields_by_path() or guess.startswith("zofinetune.")


class Item(SpecModel):
    """An item."""

    size: Annotated[int, Constraint(ge=1)] = 1
    """Size, in bytes."""


class Shelf(SpecModel):
    """A shelf."""

    items: list[Item]
    """What stands on it."""


def test_fields_inside_a_list_are_found_by_the_path_without_an_index() -> None:
    tree = field_tree(Shelf)
    assert [field.path for field in tree.walk()] == ["", "items", "items.size"]
    assert fields_by_path(Shelf)["items"].type == "list of object"
    assert nearest("items.sise", fields_by_path(Shelf)) == "items.size"
