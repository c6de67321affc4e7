"""The process that builds adapters beside a server: `python -m zo_runtime.serving.builder_process`.

It reads a `BuildRequest` a line on stdin and answers each with one line of JSON on stdout: what was built, or why
not. It ends when stdin does, so it never outlives its server by more than one build. A process of its own keeps the
event loop and the engine undisturbed, and can be killed at any moment.
"""

from __future__ import annotations

import logging
import os
import sys

from zo_runtime.errors import ZOError
from zo_runtime.serving.build import AdapterFactory, polite_threads
from zo_runtime.serving.wire import Answer, BuildRequest

# Yields the processor to the engine.
NICENESS = 10


def answer(factory: AdapterFactory, line: str) -> Answer:
    """Build what a line asks for."""
    try:
        return Answer(built=factory.build(BuildRequest.model_validate_json(line)))
    except ZOError as error:
        return Answer(reason=error.reason, message=str(error))


def main() -> None:
    """Answer until stdin ends."""
    logging.basicConfig(stream=sys.stderr, format="zofinetune: %(message)s", level=logging.WARNING)
    os.nice(NICENESS)
    factory = AdapterFactory(polite_threads())
    while line := sys.stdin.readline():
        sys.stdout.write(answer(factory, line).model_dump_json() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
