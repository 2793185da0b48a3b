"""`hts demo`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hidden_two_stream.cli.options import Parser, add_recipe, add_resources, path, resources, show

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "generate videos, train and test a recognizer on them, measure its flow and speed, and report"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts demo`."""
    parser.add_argument(
        "--out",
        type=path,
        default=Path("runs/demo"),
        help="folder for everything; an earlier demo in it is replaced (default: %(default)s)",
    )
    add_recipe(parser, "demo")
    add_resources(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.experiments.demo import run_demo

    result = run_demo(
        arguments.out,
        arguments.recipe,
        arguments.set,
        seed=arguments.seed,
        resources=resources(arguments),
    ).to_dict()
    show(arguments, result, _text(result, arguments.out))
    return 0


def _text(results: Mapping[str, Any], folder: Path) -> str:
    """Return the result as text."""
    accuracy, flow, speed = results["accuracy"], results["flow"], results["speed"]
    lines = [
        f"{results['num_test_videos']} test videos, not used for training, chance {results['chance']:.1%}",
        f"  one frame (spatial)         {accuracy['spatial']:6.1%}",
        f"  hidden motion (temporal)    {accuracy['temporal']:6.1%}",
        f"  both fused                  {accuracy['fused']:6.1%}",
        f"motion error on moving pixels: {flow['epe_moving_px']:.2f} px, "
        f"without motion {flow['zero_epe_moving_px']:.2f} px",
    ]
    for name, text in (("tvl1", "TV-L1"), ("dis", "DIS medium"), ("dis_fast", "DIS fast")):
        if f"{name}_ms_per_clip" in speed:
            milliseconds = speed[f"{name}_ms_per_clip"]
            ratio = milliseconds / speed["hidden_ms_per_clip"]
            lines.append(f"  {text:<10} {milliseconds:8.1f} ms per clip, {ratio:.1f} x hidden motion")
    lines.append(f"  hidden     {speed['hidden_ms_per_clip']:8.1f} ms per clip")
    lines.append(f"{results['seconds']['total']:.0f} s in total; report: {folder / 'report.html'}")
    return "\n".join(lines)
