"""What the chart has from elsewhere: copies of the CRDs, the Grafana dashboards, and the values table of its README.

`python -m tools.chart` writes them, `python -m tools.chart --check` names what is out of date and exits with 1.
The comments in `values.yaml` are in helm-docs style: `# -- text` above a key describes it, further comment lines
continue it, and `# @default -- text` replaces the shown default.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from tools import dashboards

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "zofinetune"
BEGIN = "<!-- values: written by `python -m tools.chart` -->\n"
END = "<!-- end of values -->\n"


@dataclass(frozen=True)
class Value:
    """One row of the table: dotted key, type, shown default and description, the last three for readers."""

    key: str
    kind: str
    default: str
    description: str


def outputs(chart: Path = CHART, crds: Path = ROOT / "crds") -> dict[Path, str]:
    """The text that each generated file must have."""
    files = {chart / "files" / "crds" / path.name: path.read_text() for path in sorted(crds.glob("*.yaml"))}
    files |= {chart / "files" / "dashboards" / name: text for name, text in dashboards.outputs().items()}
    readme = chart / "README.md"
    files[readme] = with_table(readme.read_text(), values((chart / "values.yaml").read_text()))
    return files


def with_table(readme: str, rows: list[Value]) -> str:
    """The README with the rows between its two markers."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    table = "| Key | Type | Default | Description |\n| --- | --- | --- | --- |\n"
    table += "".join(f"| `{row.key}` | {row.kind} | {row.default} | {_cell(row.description)} |\n" for row in rows)
    return f"{head}{BEGIN}{table}{END}{tail}"


def values(text: str) -> list[Value]:
    """Every described value of a `values.yaml`; a key without a description must hold described keys, else
    `ValueError` names it."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("values.yaml must be a mapping")
    return _rows(root, "", text.splitlines())


def _rows(node: yaml.MappingNode, prefix: str, lines: list[str]) -> list[Value]:
    rows: list[Value] = []
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        description, default = _comment(lines, key.start_mark.line)
        if description:
            kind, plain = _describe(value)
            rows.append(Value(name, kind, default or plain, description))
        elif isinstance(value, yaml.MappingNode) and value.value:
            rows += _rows(value, f"{name}.", lines)
        else:
            raise ValueError(f"values.yaml: {name} has no description: write `# -- ...` above it")
    return rows


def _comment(lines: list[str], line: int) -> tuple[str, str]:
    """Description and shown default in the comment block that ends right above `line`."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    description: list[str] = []
    default = ""
    for comment in (text.strip().removeprefix("#").strip() for text in lines[first:line]):
        if comment.startswith("@default -- "):
            default = comment.removeprefix("@default -- ")
        elif comment.startswith("-- "):
            description = [comment.removeprefix("-- ")]
        elif description:
            description.append(comment)
    return " ".join(description), default


def _describe(node: yaml.Node) -> tuple[str, str]:
    value = yaml.safe_load(yaml.serialize(node))
    kinds = {bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "object"}
    return kinds[type(value)], f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write or check; the exit status is 1 when `--check` finds something out of date."""
    files = outputs()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    generated = ((CHART / "files" / name).glob("*") for name in ("crds", "dashboards"))
    orphans = [path for paths in generated for path in paths if path not in files]
    if arguments == ["--check"]:
        for path in stale + orphans:
            print(f"{path.relative_to(ROOT)} is out of date: run python -m tools.chart")
        return 1 if stale + orphans else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    for path in orphans:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
