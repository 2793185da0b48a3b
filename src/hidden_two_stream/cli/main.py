"""The `hts` command line: commands, exit codes, one-line errors, Ctrl-C and signals that end a process.

Each command has a module of its own with its arguments, one call into the package, and what it prints. The
modules that do the work are imported when a command runs, so that `hts --help` stays fast.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType

from hidden_two_stream._version import __version__
from hidden_two_stream.cli import (
    annotate,
    app,
    bench,
    check,
    compare,
    cross_validate,
    demo,
    evaluate,
    export,
    features,
    flow,
    fuse,
    generate,
    import_caffe,
    import_web,
    inspect,
    labels,
    pack,
    predict,
    prepare,
    push,
    segment,
    serve,
    stream,
    track,
    train,
    train_frames,
)
from hidden_two_stream.cli.options import Parser, number_of_threads, pin_run
from hidden_two_stream.cli.output import OutputClosedError
from hidden_two_stream.environment import thread_limit
from hidden_two_stream.errors import HiddenTwoStreamError, Terminated, unexpected
from hidden_two_stream.progress import note

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "check": check,
    "prepare": prepare,
    "pack": pack,
    "generate": generate,
    "train": train,
    "cross-validate": cross_validate,
    "compare": compare,
    "evaluate": evaluate,
    "fuse": fuse,
    "predict": predict,
    "segment": segment,
    "stream": stream,
    "train-frames": train_frames,
    "annotate": annotate,
    "labels": labels,
    "inspect": inspect,
    "bench": bench,
    "flow": flow,
    "track": track,
    "features": features,
    "export": export,
    "push": push,
    "app": app,
    "serve": serve,
    "import-web": import_web,
    "import-caffe": import_caffe,
}
"""The module of each command, with `SUMMARY`, `add_arguments` and `run`."""


_ENDING = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0 success, 1 failure, 2 wrong usage, 130 interrupted (Ctrl-C), 143 ended by SIGTERM, 129 by SIGHUP.

    Args:
        argv: the arguments. None: those of the process, which then ignores Ctrl-C after the first one.

    Raises:
        SystemExit: wrong arguments (2), or help was asked for (0), as argparse does.
    """
    arguments: argparse.Namespace | None = None
    handler = signal.getsignal(signal.SIGINT)
    with _ending_signals_raised():
        try:
            parsed = _parse(argv)
            if isinstance(parsed, int):
                return parsed
            arguments = parsed
            return _run(parsed)
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


@contextmanager
def _ending_signals_raised() -> Iterator[None]:
    """Raise `Terminated` in the block where SIGTERM or SIGHUP would end this process without cleaning up.

    Signals that the caller ignores, as nohup ignores SIGHUP, stay ignored.
    """
    previous: dict[int, signal.Handlers] = {}
    if _may_set_signals():
        for number in (getattr(signal, name) for name in _ENDING if hasattr(signal, name)):
            if signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.SIG_DFL
                signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number, f"ended by {signal.Signals(number).name}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace | int:
    """Return the arguments, or the exit code where even the help cannot be printed.

    Raises:
        SystemExit: as `main`.
    """
    try:
        return _parser().parse_args(argv)
    except HiddenTwoStreamError as error:
        note(f"hts: {error}")
        return error.exit_code
    except OutputClosedError:
        return 1


def _run(arguments: argparse.Namespace) -> int:
    debug: bool = arguments.debug
    try:
        run: Callable[[argparse.Namespace], int] = COMMANDS[arguments.command].run
        threads = number_of_threads(arguments)
        pin_run(arguments)
        if threads is None:
            return run(arguments)
        with thread_limit(threads):
            return run(arguments)
    except HiddenTwoStreamError as error:
        if debug:
            raise
        note(f"hts: {_joined_lines(str(error))}")
        return error.exit_code
    except OutputClosedError:
        return 1
    except Exception as error:
        if debug:
            raise
        note(f"hts: {unexpected(error)} (run again with --debug for details)")
        return 1


def _joined_lines(text: str) -> str:
    return " ".join(line.strip() for line in text.split("\n"))


def _interrupted(interrupt: KeyboardInterrupt, arguments: argparse.Namespace | None) -> int:
    """Print how to resume if the command left a plan, and return the exit code.

    Further signals are ignored.
    """
    if _may_set_signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (getattr(signal, name) for name in _ENDING if hasattr(signal, name)):
            if signal.getsignal(number) is _terminate:
                signal.signal(number, signal.SIG_IGN)

    from hidden_two_stream.checkpoint import PLAN_FILE

    advice = ""
    if arguments is not None and hasattr(arguments, "resume") and (arguments.out / PLAN_FILE).exists():
        # Other commands need their full arguments again.
        advice = "; to continue, run " + (
            f"hts train --resume --out {shlex.quote(str(arguments.out))}"
            if arguments.command == "train"
            else "the same command with --resume"
        )
    # Python gives a plain KeyboardInterrupt a text of its own if it came while text was decoded.
    known = interrupt if isinstance(interrupt, Terminated) else Terminated(signal.SIGINT)
    note(f"hts: {str(known) or 'interrupted'}{advice}")
    return 128 + known.signal_number


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
