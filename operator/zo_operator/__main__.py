"""The `zo-operator` command."""

from __future__ import annotations

import asyncio
import socket
import sys

import click

from zo_operator import logs
from zo_operator.application import Application
from zo_operator.cluster.configuration import configuration
from zo_operator.errors import OperatorError
from zo_operator.handlers import operate
from zo_operator.settings import Settings

_DEFAULTS = Settings()


def _names(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(sorted({name.strip() for name in value.split(",") if name.strip()}))


@click.command(context_settings={"auto_envvar_prefix": "ZO_OPERATOR", "show_default": True})
@click.option("--namespaces", default="", callback=_names, help="Namespaces to watch, with commas. Default: all.")
@click.option("--runtime-image", default=_DEFAULTS.runtime_image, help="Image of runs that name none.")
@click.option("--host", default=_DEFAULTS.host, help="Address of the two ports below.")
@click.option("--health-port", default=_DEFAULTS.health_port, help="Port of /healthz and /readyz.")
@click.option("--metrics-port", default=_DEFAULTS.metrics_port, help="Port of /metrics.")
@click.option("--workers", default=_DEFAULTS.workers, type=click.IntRange(1, 256), help="Reconciles at once.")
@click.option(
    "--poll-seconds",
    default=_DEFAULTS.poll_seconds,
    type=click.FloatRange(0.1),
    help="Seconds between two looks at a run's progress.",
)
@click.option(
    "--resync-seconds",
    default=_DEFAULTS.resync_seconds,
    type=click.FloatRange(1),
    help="Seconds between two complete listings.",
)
@click.option("--lease-name", default="", help="Lease that makes one of several replicas the active one.")
@click.option("--lease-namespace", default=_DEFAULTS.lease_namespace, help="Namespace of the Lease.")
@click.option("--identity", default=socket.gethostname, help="Name of this replica in the Lease.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", default="json", type=click.Choice(["json", "text"]))
@click.version_option(package_name="zofinetune")
def main(**options: object) -> None:
    """Run the operator until it is told to stop. Every option is also a variable: ZO_OPERATOR_WORKERS=4."""
    settings = Settings(**options)  # type: ignore[arg-type]
    logs.configure(settings.log_level, settings.log_format)
    try:
        failed = asyncio.run(run(settings))
    except OperatorError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(1 if failed else 0)


async def run(settings: Settings) -> bool:
    """Run one operator in this event loop; true when it had to give up."""
    await configuration()
    app = Application(settings, configuration)
    await operate(app)
    return app.failed


if __name__ == "__main__":
    main()
