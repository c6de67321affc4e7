"""The health checks as they are shipped: in the ConfigMap that the chart makes of them."""

import yaml

from fixtures.chart import CHART, of_kind, render

FILES = CHART / "files" / "gitops"


def shipped() -> dict[str, str]:
    (found,) = of_kind(render({"gitops": {"healthChecks": True}}), "ConfigMap")
    return found["data"]


def test_the_config_map_has_the_files_byte_for_byte():
    data = shipped()
    for path in FILES.iterdir():
        assert data[path.name] == path.read_text()


def test_argo_cds_patch_sets_the_one_key_of_the_kind():
    patch = yaml.safe_load(shipped()["argocd-cm.yaml"])
    lua = (FILES / "argocd-health.lua").read_text()
    assert patch == {"data": {"resource.customizations.health.zofinetune.io_ZOFineTune": lua}}


def test_nothing_is_made_unless_it_is_asked_for():
    assert of_kind(render(), "ConfigMap") == []
