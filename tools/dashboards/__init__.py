"""The chart's Grafana dashboards, built with Grafana's own models. `python -m tools.chart` writes them."""

from __future__ import annotations

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Panel
from grafana_foundation_sdk.models.table import Options as TableOptions
from tools.dashboards import fleet, resource, serving

BUILDERS = {"fleet": fleet.dashboard, "resource": resource.dashboard, "serving": serving.dashboard}


def outputs() -> dict[str, str]:
    """File name to JSON. Panels are numbered in their order. What the models add of their own and Grafana 13 does not
    know goes: the footer of tables, and intervals' fields on other variables."""
    files = {}
    for name, build in BUILDERS.items():
        made = build().build()
        for number, panel in enumerate(made.panels or [], 1):
            panel.id_val = number
            if isinstance(panel, Panel) and isinstance(panel.options, TableOptions):
                panel.options.footer = None
        for variable in made.templating.list_val or []:
            variable.auto = variable.auto_count = variable.auto_min = None
        files[f"{name}.json"] = JSONEncoder(sort_keys=True, indent=2).encode(made) + "\n"
        assert json.loads(files[f"{name}.json"])["uid"] == f"zofinetune-{name}"
    return files
