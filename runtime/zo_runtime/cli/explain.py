"""`zo explain`: what a field of the manifest means."""

from __future__ import annotations

import click

from zo_runtime.config.explain import explain as explain_field


@click.command()
@click.argument("field", default="spec")
def explain(field: str) -> None:
    """Print the type, default, bounds and meaning of FIELD, such as spec.optimizer.rank."""
    click.echo(explain_field(field))
