"""`zo plan`: memory, time, log and traffic of a manifest, before anything runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from rich.console import Console

from zo_runtime.cli.plan_tables import print_plan
from zo_runtime.config.load import load_document


@click.command()
@click.argument("manifest", metavar="FILE.yaml", type=click.Path(path_type=Path))
@click.option("--gpu", "types", multiple=True, metavar="TYPE",
              help="Plan for this type and show the parts: H100, H200, B200, A100-80GB, A100-40GB, L40S, L4, or cpu "
                   "for this machine. Repeat it for several. Default: a line for each GPU type.")  # fmt: skip
@click.option("--json", "as_lines", is_flag=True, help="Write JSON instead of tables.")
def plan(manifest: Path, types: tuple[str, ...], as_lines: bool) -> None:
    """Say what the ZOFineTune document FILE.yaml will need: memory, time, size of the log, bytes on the wire.

    Nothing runs and no weights are read: the model's configuration, its tokenizer and the first records are.
    """
    document, _ = load_document(manifest)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # These import torch and transformers: a wrong manifest is told before.
    from zo_runtime.inputs import method_of  # noqa: PLC0415
    from zo_runtime.planning.devices import device, gpus  # noqa: PLC0415
    from zo_runtime.planning.facts import read_facts  # noqa: PLC0415
    from zo_runtime.planning.lengths import read_sample  # noqa: PLC0415
    from zo_runtime.planning.plan import Run, as_json, make_plan  # noqa: PLC0415
    from zo_runtime.planning.workplace import workplace  # noqa: PLC0415
    from zo_runtime.scoring.base_model import VllmModel  # noqa: PLC0415
    from zo_runtime.scoring.shapes import require_targets  # noqa: PLC0415
    from zo_runtime.scoring.sizing import engine_options  # noqa: PLC0415
    from zo_runtime.zo.layout import BankLayout  # noqa: PLC0415

    devices = [device(name) for name in types] or gpus()
    workers, shards = workplace(manifest)
    spec = document.spec
    facts = read_facts(spec.model)
    targets = require_targets(facts.linear, spec.optimizer.target_modules, spec.model.name)
    layout = BankLayout(targets, spec.optimizer.rank, spec.optimizer.subspaces)
    base = VllmModel(spec, engine_options(spec))
    sample = read_sample(spec, base.tokenizer)
    made = make_plan(Run(document, facts, layout, method_of(spec), sample, workers, shards), devices)
    if as_lines:
        click.echo(json.dumps(as_json(made), separators=(",", ":")))
    else:
        print_plan(made, Console(highlight=False, soft_wrap=True), parts=bool(types))
