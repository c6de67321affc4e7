"""The drift story with a toy model in the place of vLLM: the same script, operator, Jobs, S3, rollout and requests.

`make story` is the real one.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from tools.story.cast import Cast
from tools.story.picture import draw
from tools.story.stage import perform
from tools.story.timeline import Timeline

from fakes.kube_node import image_of_this_machine
from fixtures.seaweed import S3Service
from fixtures.serving import make_base

TESTS = Path(__file__).parents[1]
OPTIMIZER = {"steps": 3000, "batchSize": 16, "learningRate": 0.5, "rank": 16, "subspaces": 8}

# No record is unusable here, no pod fails, no replica fails to switch.
DID_NOT_HAPPEN = {
    "resource-26-A-Records set aside",
    "resource-27-A-Failed pods",
    "serving-13-A-Failed attempts",
}


def toys(folder: Path, endpoint: str) -> Cast:
    """A cast without an engine: `zo` and the server know the toy model only."""
    model, programs = make_base(folder / "base"), folder / "bin"
    programs.mkdir()
    program = programs / "zo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fakes.toy_zo "$@"\n')
    program.chmod(0o755)
    server = [sys.executable, "-m", "fakes.toy_server", "--model", str(model), "--s3-endpoint", endpoint]
    image = image_of_this_machine(programs) | {
        "PYTHONPATH": str(TESTS),
        "NUMBA_CACHE_DIR": str(folder / "kernels"),
        "OMP_NUM_THREADS": "1",
    }
    return Cast(
        str(model),
        server,
        OPTIMIZER,
        image,
        bake_seconds=2,
        pause_seconds=2.0,
        export_seconds=0.1,
        scrape_seconds=0.5,
    )


@pytest.mark.timeout(1200)
def test_the_story(seaweed_server: S3Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timeline = Timeline(print)
    cast = toys(tmp_path, seaweed_server.endpoint)
    found = asyncio.run(perform(cast, tmp_path, seaweed_server, timeline))
    assert [(each["number"], each["trigger"], each["outcome"]) for each in found["rounds"]] == [
        (1, "FreshData", "Completed"),
        (2, "FreshData", "Completed"),
        (3, "FreshData", "Rejected"),
        (4, "FreshData", "RolledBack"),
    ]
    told = found["accuracy"]
    assert told["drifted"] + 0.2 <= min(told["before"], told["recovered"], told["poisoned"], told["end"])
    assert told["canary"] + 0.2 <= told["others"]
    assert [each["reason"] for each in found["withdrawn"]] == ["CheckFailed"]
    assert "is demanded" in found["withdrawn"][0]["message"]
    assert found["pods_run"]["runtime"] == 4
    assert found["pods_run"]["check"] >= 2
    assert found["failed_requests"] == 0
    watched = found["prometheus"]
    assert watched["targets"] == {
        "zofinetune-metrics": 1,
        "zofinetune-system/zofinetune-runs": 4,
        "zofinetune-system/zofinetune-serving": 2,
    }
    assert "ZOFineTuneRolledBack" in watched["alerts"]
    assert set(watched["queries_without_data"]) <= DID_NOT_HAPPEN
    lines = capsys.readouterr().out.splitlines()
    assert any("RolledBack" in line and "v" in line.split()[1] for line in lines)
    assert "<svg" in draw("t", timeline.samples, timeline.entries)
    assert (tmp_path / "report.html").stat().st_size > 10_000
