"""The options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

PORT = click.IntRange(1, 65535)


class Decimal(click.FloatRange):
    """A number within bounds; `nan`, which no bound excludes, and infinity are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a number.", param, ctx)
        return number


file = click.option("-f", "--file", metavar="FILE", help="Configuration file; `-` reads standard input.")
text = click.option("-c", "--config", "text", metavar="YAML", help="Configuration as a text.")
workers = click.option(
    "--workers", metavar="NUMBER", type=click.IntRange(1, 256), help="Processes that share the ports."
)
resolve = click.option(
    "--resolve",
    metavar="HOST:PORT:ADDRESS[:PORT]",
    multiple=True,
    help="Connect to ADDRESS for HOST:PORT; Host, SNI and certificate check stay. May be given again.",
)
output = click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the result goes; else standard output.",
)

# of manifests
manifests = click.option(
    "--manifests",
    metavar="PATH...",
    multiple=True,
    help="Manifest files, or folders of them; `-` reads standard input.",
)
more = click.argument("more", metavar="[PATH]...", nargs=-1)  # the same as --manifests
namespace = click.option(
    "-n", "--namespace", metavar="NAME", default="default", help="The namespace of objects which name none."
)
expand_env = click.option(
    "--expand-env", is_flag=True, help="Fill in the variables in the stringData of Secrets, as $NAME or ${NAME}."
)
implicit_gateway = click.option(
    "--implicit-gateway", metavar="PORT", type=PORT, help="Supply Gateways that routes name and that are absent."
)
controller_name = click.option(
    "--controller-name",
    metavar="NAME",
    multiple=True,
    help="GatewayClasses of this controller are ours. May be given again.",
)
class_name = click.option(
    "--class-name",
    metavar="NAME",
    multiple=True,
    help="Of classes without a GatewayClass only these are ours. May be given again.",
)
on_duplicate = click.option(
    "--on-duplicate",
    type=click.Choice(["error", "last"]),
    default="error",
    help="`last`: of an object given twice the later one counts.",
)
resolve_service = click.option(
    "--resolve",
    metavar="HOST:PORT:ADDRESS[:PORT]",
    multiple=True,
    help="Connect to ADDRESS for HOST:PORT; Host, SNI and certificate check stay. As SERVICE.NAMESPACE:PORT="
    "HOST:PORT it says where a Service of the manifests is. May be given again.",
)
address = click.option(
    "--address",
    metavar="ADDRESS",
    multiple=True,
    help="Where --manifests listens: 0.0.0.0, ::, or an address of the machine. May be given again. "
    "By default 127.0.0.1 and ::1; a cluster's is all.",
)
port_map = click.option(
    "--port-map", metavar="PORT=PORT", multiple=True, help="Listen on the second port for a Gateway's first."
)


def given(call: click.Context, parameters: Iterable[str]) -> str | None:
    """The first of these that the command line has, as it is written there."""
    for each in call.command.params:
        source = call.get_parameter_source(each.name or "")
        if each.name in parameters and source is not None and source.name == "COMMANDLINE":
            return max(each.opts, key=len)
    return None


def refuse(call: click.Context, parameters: Iterable[str], needs: str) -> None:
    """Options that would have no effect, given all the same: exit 2 instead of leaving their author in error."""
    if option := given(call, parameters):
        raise click.BadParameter(f"{option} has no effect here: it needs {needs}")
