"""`hts bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import Parser, show

if TYPE_CHECKING:
    from hidden_two_stream.experiments.network_table import Layer, NetworkTable

__all__ = ["SUMMARY", "add_arguments", "networks_text", "run"]

SUMMARY = "show the sizes of the networks: parameters, multiply-accumulates, layer shapes"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts bench`."""
    parser.add_argument(
        "--networks",
        nargs="*",
        required=True,
        metavar="NAME",
        help="networks to show with their layers; no name shows all networks without layers",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=224,
        metavar="PX",
        help="height and width of the input (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.experiments.network_table import measure_networks

    table = measure_networks(arguments.networks, arguments.size)
    show(arguments, table.to_dict(), networks_text(table, layers=bool(arguments.networks)))
    return 0


def networks_text(table: NetworkTable, layers: bool) -> str:
    """Return the table as text: one line per network and, if asked for, one line per layer."""
    lines = [f"{table.input}, {table.num_classes} classes"]
    width = max(len(network.name) for network in table.networks)
    for network in table.networks:
        size = f"{network.parameters / 1e6:7.2f} M parameters {network.macs / 1e9:7.2f} GMAC"
        padded = table.size if network.padded_size is None else network.padded_size
        note = "" if padded == table.size else f", padded to {padded}×{padded} px"
        lines.append(f"{network.name:<{width}} {size}  {network.title}{note}")
        if layers:
            lines += [f"    {_layer_text(layer)}" for layer in network.layers]
            lines += [f"    flow {_sides(level)}" for level in network.flow or ()]
    return "\n".join(lines)


def _layer_text(layer: Layer) -> str:
    kernel = "linear"
    if layer.kernel is not None and layer.stride is not None:
        kernel = f"{_sides(layer.kernel)} / {layer.stride[-1]}"
    channels = f"{layer.in_channels} → {layer.out_channels}"
    return f"{layer.name:<24} {kernel:<12} {channels:<14} {_sides(layer.output)}"


def _sides(shape: Sequence[int]) -> str:
    return "×".join(str(side) for side in shape)
