"""`hts serve`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from hidden_two_stream.apps.service.keys import KEY_VARIABLE, read_keys
from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.cli.options import (
    Parser,
    add_address,
    add_device,
    add_protocol,
    add_threads,
    path,
    path_text,
)

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "serve predictions of a run over HTTP: uploads or allowed URLs in, JSON out"

_DEFAULTS = ServeSettings()
_NUMBERS = {
    "max_upload": ("max_upload_mb", "MB", "largest video, MB"),
    "max_stored": ("max_stored_mb", "MB", "all videos on disk at a time, MB"),
    "max_wait": ("max_wait_ms", "MS", "how long a video waits for others to share its batch, ms"),
    "upload_seconds": ("upload_seconds", "S", "how long an upload or download may take, s"),
    "decode_seconds": ("decode_seconds", "S", "how long decoding a video may take, s"),
    "timeout": ("timeout_seconds", "S", "time between the end of the upload and the answer, s"),
    "drain_seconds": ("drain_seconds", "S", "how long requests may take when the service is ended, s"),
}
"""Option → setting, unit and help; all are numbers."""
_COUNTS = {
    "max_requests": "predictions in progress at a time; others get status 429",
    "max_batch": "clips that the networks get at a time",
}
_LISTS = {
    "allow_url": ("URL", "beginning of URLs that requests may name in place of a video; can be repeated"),
    "allow_network": ("NETWORK", "private network that names in --allow-url may lead to; can be repeated"),
    "allow_host": ("NAME", "name that the service answers to, as a proxy passes it on; can be repeated"),
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts serve`."""
    parser.add_argument(
        "run", type=path_text, metavar="RUN", help="run folder, checkpoint file, or an exported model.onnx"
    )
    add_address(parser, _DEFAULTS.host, _DEFAULTS.port)
    parser.add_argument(
        "--workers", type=int, help="processes that decode videos (default: one per core, at most 8)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="score below which no class fits, unless a request gives one (default: the run's calibration "
        "decides)",
    )
    for name, (setting, unit, text) in _NUMBERS.items():
        parser.add_argument(
            _option(name),
            type=float,
            default=getattr(_DEFAULTS, setting),
            metavar=unit,
            help=f"{text} (default: %(default)g)",
        )
    for name, text in _COUNTS.items():
        parser.add_argument(
            _option(name),
            type=int,
            default=getattr(_DEFAULTS, name),
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    for name, (metavar, text) in _LISTS.items():
        parser.add_argument(_option(name), action="append", default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--api-key-file",
        type=path,
        metavar="FILE",
        help="API keys, one per line; requests must bring one of them, or that in HTS_API_KEY",
    )
    add_protocol(parser)
    add_device(parser)
    add_threads(parser)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.apps.service.serving import serve
    from hidden_two_stream.types import require_threshold

    require_threshold(arguments.threshold)
    settings = ServeSettings(
        host=arguments.host,
        port=arguments.port,
        workers=_workers(arguments),
        protocol=arguments.protocol,
        threshold=arguments.threshold,
        device=arguments.device,
        api_keys=read_keys(arguments.api_key_file),
        **_settings(arguments),
    )
    os.environ.pop(KEY_VARIABLE, None)  # the processes that decode strangers' files must not inherit it
    serve(arguments.run, settings, on_ready=_announcement(arguments))
    return 0


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the options in the tables above."""
    numbers = {setting: getattr(arguments, name) for name, (setting, _, _) in _NUMBERS.items()}
    counts = {name: getattr(arguments, name) for name in _COUNTS}
    return numbers | counts | {f"{name}s": tuple(getattr(arguments, name)) for name in _LISTS}


def _workers(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.errors import UsageError

    number: int | None = arguments.workers
    if number is not None and number < 1:
        raise UsageError(f"--workers is {number}; expected 1 or more")
    return number or 0


def _announcement(arguments: argparse.Namespace) -> Callable[[str], None] | None:
    if not arguments.json:
        return None
    from hidden_two_stream.cli.output import print_json_line

    return lambda address: print_json_line({"address": address})
