"""The `hts` command line: commands, exit codes, one-line errors, and Ctrl-C.

Each command has a module of its own with its arguments, one call into the package, and what it prints. The
modules that do the work are imported when a command runs, so that `hts --help` stays fast.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType

from hidden_two_stream._version import __version__
from hidden_two_stream.cli import (
    bench,
    check,
    compare,
    cross_validate,
    demo,
    evaluate,
    flow,
    fuse,
    generate,
    import_caffe,
    predict,
    prepare,
    train,
)
from hidden_two_stream.cli.options import Parser
from hidden_two_stream.errors import HiddenTwoStreamError, unexpected

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "check": check,
    "prepare": prepare,
    "generate": generate,
    "train": train,
    "cross-validate": cross_validate,
    "compare": compare,
    "evaluate": evaluate,
    "fuse": fuse,
    "predict": predict,
    "bench": bench,
    "flow": flow,
    "import-caffe": import_caffe,
}
"""The module of each command, with `SUMMARY`, `add_arguments` and `run`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 success, 1 failure, 2 wrong usage, 130 interrupted.

    Args:
        argv: the arguments. None: those of the process, which then ignores Ctrl-C after the first one.
    """
    if argv is None:
        _escape_output()
    arguments = _parser().parse_args(argv)
    handler = signal.getsignal(signal.SIGINT)
    try:
        return _run(arguments)
    except KeyboardInterrupt as error:
        interrupt = error
    try:
        try:
            return _interrupted(interrupt, arguments)
        except KeyboardInterrupt:  # a second Ctrl-C, before it was ignored
            return _interrupted(interrupt, arguments)
    finally:
        if argv is not None and handler is not None and _may_set_signals():
            signal.signal(signal.SIGINT, handler)


def _escape_output() -> None:
    """Print characters that stdout cannot hold, and bytes of file names that are not UTF-8, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: argparse.Namespace) -> int:
    debug: bool = arguments.debug
    try:
        run: Callable[[argparse.Namespace], int] = COMMANDS[arguments.command].run
        return run(arguments)
    except HiddenTwoStreamError as error:
        if debug:
            raise
        print(f"hts: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"hts: {unexpected(error)} (run again with --debug for details)", file=sys.stderr)
        return 1


def _interrupted(interrupt: KeyboardInterrupt, arguments: argparse.Namespace) -> int:
    """Print how to resume if the command left a plan, and return the exit code. Further Ctrl-C is ignored."""
    if _may_set_signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    from hidden_two_stream.checkpoint import PLAN_FILE

    advice = ""
    if hasattr(arguments, "resume") and (arguments.out / PLAN_FILE).exists():
        # Other commands need their full arguments again.
        advice = "; to continue, run " + (
            f"hts train --resume --out {arguments.out}"
            if arguments.command == "train"
            else "the same command with --resume"
        )
    print(f"hts: {str(interrupt) or 'interrupted'}{advice}", file=sys.stderr)
    return 130


def _may_set_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="hts", description="Action recognition from raw video, with motion learned inside the network."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        command.add_argument(
            "--json", action="store_true", help="print the result as one JSON document on stdout"
        )
        command.add_argument("--quiet", action="store_true", help="show no progress on stderr")
        command.add_argument("--debug", action="store_true", help="show tracebacks of errors")
        module.add_arguments(command)
    return parser
