"""The Grafana dashboards: valid by Grafana's own models, consistent, and delivered as the sidecar wants them."""

import json
import re
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards import BUILDERS, outputs

from fixtures.chart import CHART, of_kind, render

FILES = {path.name: path.read_text() for path in (CHART / "files" / "dashboards").glob("*.json")}
BOARDS = {name: json.loads(text) for name, text in FILES.items()}
every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))


def understood(board: dict[str, Any]) -> dict[str, Any]:
    """What Grafana's models make of a dashboard: they leave out what they do not know."""
    register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(board)))


def missing(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Paths of what is wanted and not found, or found otherwise."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [p for key, value in wanted.items() for p in missing(value, found.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [p for i, pair in enumerate(zip(wanted, found, strict=True)) for p in missing(*pair, f"{path}[{i}]")]
    return [] if wanted == found else [path]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_committed_files_are_what_the_builders_make():
    assert outputs() == FILES
    assert {f"{name}.json" for name in BUILDERS} == FILES.keys()


@every_board
def test_grafanas_models_understand_every_field(board):
    assert missing(board, understood(board)) == []


def test_the_check_by_the_models_can_fail():
    board = json.loads(FILES["fleet.json"])
    board["panels"][1]["options"]["colourMode"] = "value"
    board["panels"][1]["targets"][0]["expression"] = "up"
    wrong = missing(board, understood(board))
    assert wrong == [".panels[1].options.colourMode", ".panels[1].targets[0].expression"]


@every_board
def test_panels_have_their_own_number_and_place_and_say_what_they_show(board):
    numbers = [panel["id"] for panel in board["panels"]]
    assert sorted(set(numbers)) == numbers
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in panels(board))
    for panel in panels(board):
        refs = [target["refId"] for target in panel["targets"]]
        assert sorted(set(refs)) == refs, panel["title"]


@every_board
def test_every_query_uses_the_chosen_data_source_and_known_variables(board):
    variables = {variable["name"] for variable in board["templating"]["list"]}
    built_in = {"__rate_interval", "__range"}
    for panel in panels(board):
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables | built_in
    assert board["templating"]["list"][0]["type"] == "datasource"


@every_board
def test_the_dashboards_are_known_by_name_and_linked_to_each_other(board):
    assert re.fullmatch(r"zofinetune-[a-z]+", board["uid"])
    assert board["tags"] == ["zofinetune"] and board["links"][0]["tags"] == ["zofinetune"]
    assert len({other["uid"] for other in BOARDS.values()}) == len(BOARDS)
    uids = {other["uid"] for other in BOARDS.values()}
    assert set(re.findall(r"/d/([\w-]+)", json.dumps(board))) <= uids


def test_the_sidecar_gets_each_dashboard_in_a_config_map_of_its_own():
    values = {"metrics": {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "ML"}}}}
    maps = of_kind(render(values), "ConfigMap")
    data = {name: text for item in maps for name, text in item["data"].items()}
    assert data == {f"zofinetune-{name}": text for name, text in FILES.items()}
    for item in maps:
        assert len(item["data"]) == 1
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert item["metadata"]["annotations"] == {"grafana_folder": "ML"}
        assert item["metadata"]["namespace"] == "team-a"


def test_releases_that_share_grafanas_namespace_do_not_clash():
    values = {"metrics": {"dashboards": {"enabled": True, "namespace": "monitoring"}}}
    names = [
        item["metadata"]["name"]
        for namespace in ("team-a", "team-b")
        for item in of_kind(render(values, namespace=namespace), "ConfigMap")
    ]
    assert len(names) == 2 * len(FILES) and sorted(set(names)) == sorted(names)
