"""The drift story, `make story`: data drifts, a round makes up for it, poison is rejected, a bad version rolled back.

    python -m tools.story --model DIR [--out story]

The operator, every Job, two vLLM servers and the object storage are real and run on this machine; Kubernetes' API is
the tests' own server. Lines on stderr tell what happens as it happens: time, version and accuracy of each replica,
event. The last line of stdout is one line of JSON. Left in the folder: `story.svg`, `report.html`, and every log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tools.story.cast import Cast, vllm
from tools.story.cluster import StoryFailed
from tools.story.picture import draw
from tools.story.stage import perform
from tools.story.timeline import Timeline

from fixtures.seaweed import S3Service, running_seaweed

TITLE = "Served accuracy while the meaning of labels drifts"


def main() -> None:
    """Tell the story, or end with exit code 1 and the reason why it went another way."""
    parser = argparse.ArgumentParser(prog="tools.story", description="The drift story, end to end on this machine.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--out", type=Path, default=Path("story"), help="folder for the report and the logs")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    failures: list[str] = []
    timeline = Timeline(lambda text: print(text, file=sys.stderr, flush=True))
    try:
        with running_seaweed(given.out.resolve() / "s3") as s3:
            summary = asyncio.run(until_stopped(vllm(given.model), given.out, s3, timeline))
    except* StoryFailed as failed:
        failures += reasons(failed)
    finally:
        if timeline.samples:
            (given.out / "story.svg").write_text(draw(TITLE, timeline.samples, timeline.entries))
    if failures:
        sys.exit("\n".join(f"[story] {failure}" for failure in failures))
    print(f"[story] the picture and the report are in {given.out}", file=sys.stderr)
    print(json.dumps(summary))


def reasons(failed: BaseException) -> list[str]:
    """The words of all failures in a group."""
    if isinstance(failed, BaseExceptionGroup):
        return [reason for each in failed.exceptions for reason in reasons(each)]
    return [str(failed)]


async def until_stopped(cast: Cast, out: Path, s3: S3Service, timeline: Timeline) -> dict[str, Any]:
    """The story; SIGTERM ends it and everything that it started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await perform(cast, out, s3, timeline)


if __name__ == "__main__":
    main()
