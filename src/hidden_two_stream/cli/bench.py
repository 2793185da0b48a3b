"""`hts bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hidden_two_stream.cli.options import Parser, path, show
from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import write_json
from hidden_two_stream.progress import note

if TYPE_CHECKING:
    from hidden_two_stream.experiments.machine_speed import SpeedRow, SpeedTable
    from hidden_two_stream.experiments.network_table import Layer, NetworkTable

__all__ = ["SUMMARY", "add_arguments", "networks_text", "run", "speed_text"]

SUMMARY = "show the speed of this machine, or the sizes of the networks"

_ROUNDS, _THREADS, _SIZE = 7, 1, 224


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts bench`."""
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help="what to time: decoding, loading, motion, recognition, stream, export, training (default: all)",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"turns of each work (default: {_ROUNDS})")
    parser.add_argument(
        "--threads", type=int, metavar="N", help=f"threads of each work (default: {_THREADS})"
    )
    parser.add_argument("-o", "--out", type=path, metavar="FILE", help="also write the times as JSON")
    parser.add_argument(
        "--networks",
        nargs="*",
        metavar="NAME",
        help="show sizes instead: parameters, multiply-accumulates, layer shapes; no name shows all networks "
        "without layers",
    )
    parser.add_argument(
        "--size", type=int, metavar="PX", help=f"with --networks: side of the input (default: {_SIZE})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if arguments.networks is not None:
        return _sizes(arguments)
    if arguments.size is not None:
        raise UsageError("--size is for --networks; leave it out")
    from hidden_two_stream.experiments.machine_speed import measure_machine

    table = measure_machine(
        tuple(arguments.groups),
        _ROUNDS if arguments.rounds is None else arguments.rounds,
        _THREADS if arguments.threads is None else arguments.threads,
        lambda group: note(f"timing {group}"),
    )
    if arguments.out is not None:
        write_json(arguments.out, table.to_dict())
    show(arguments, table.to_dict(), speed_text(table))
    return 0


def _sizes(arguments: argparse.Namespace) -> int:
    for name in ("groups", "rounds", "threads", "out"):
        if getattr(arguments, name):
            given = "GROUP" if name == "groups" else f"--{name}"
            raise UsageError(f"{given} is for times, not for --networks; leave one out")
    from hidden_two_stream.experiments.network_table import measure_networks

    table = measure_networks(arguments.networks, _SIZE if arguments.size is None else arguments.size)
    show(arguments, table.to_dict(), networks_text(table, layers=bool(arguments.networks)))
    return 0


def speed_text(table: SpeedTable) -> str:
    """Return the table as text: one line per work."""
    width = max((len(row.name) for row in table.rows), default=0)
    lines = []
    group = ""
    for row in table.rows:
        if row.group != group:
            group = row.group
            lines += ["", f"{group:<{width}}         ms   per second of video   of peak"]
        lines.append(f"{row.name:<{width}} {_numbers(row)}  {row.note}".rstrip())
    lines += ["", *(f"not timed: {name}: {reason}" for name, reason in table.skipped.items())]
    if table.memory_mb:
        memory = ", ".join(f"{group} {number:.0f}" for group, number in table.memory_mb.items())
        lines.append(f"largest memory so far, MB, after each group: {memory}")
    lines += [
        f"medians of {table.rounds} turns; peak {table.peak_gflops:.1f} GFLOP/s",
        table.machine,
    ]
    return "\n".join(lines).lstrip("\n")


def _numbers(row: SpeedRow) -> str:
    covered = "" if row.per_video_second is None else f"{row.per_video_second:.1f} ms"
    share = "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"
    return f"{row.milliseconds:10.1f}   {covered:>19}   {share:>7}"


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
