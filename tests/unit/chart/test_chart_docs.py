"""What the chart repeats from elsewhere is up to date, and its generator says what is missing."""

import pytest
import yaml
from tools.chart import ROOT, main, outputs, values, with_table

from fixtures.chart import CHART


def test_generated_files_are_up_to_date(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_the_chart_carries_every_crd_byte_for_byte():
    crds = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    assert crds
    assert {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()} == crds


def test_every_value_has_a_row():
    rows = {row.key: row for row in values((CHART / "values.yaml").read_text())}
    assert all(row.description.endswith(".") for row in rows.values())

    def covered(tree: dict, prefix: str = "") -> None:
        for key, value in tree.items():
            if prefix + key not in rows:
                assert isinstance(value, dict)
                covered(value, f"{prefix}{key}.")

    covered(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_descriptions_continue_and_defaults_can_be_shown_otherwise():
    (first, second) = values(
        "# Not a description.\n\n# -- Says\n# more.\n# @default -- see below\na:\n  b: 1\n"
        "c:\n  # -- Inner | bar.\n  d: []\n"
    )
    assert (first.key, first.kind, first.default, first.description) == ("a", "object", "see below", "Says more.")
    assert (second.key, second.kind, second.default) == ("c.d", "list", "`[]`")
    assert "Inner \\| bar." in with_table("", [second])


def test_a_value_without_a_description_is_named():
    with pytest.raises(ValueError, match=r"a\.b has no description"):
        values("a:\n  b: 1\n")


def test_a_stale_table_is_found():
    readme = CHART / "README.md"
    assert outputs()[readme] == readme.read_text()
    assert with_table(readme.read_text(), []) != readme.read_text()
