"""Arguments and output that several commands share."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.config.stages import require_trained
from hidden_two_stream.environment import MOST_WORKERS, THREADS_VARIABLE, collector_paused
from hidden_two_stream.errors import UsageError
from hidden_two_stream.progress import note
from hidden_two_stream.weights.hub_names import hub_name

if TYPE_CHECKING:
    from hidden_two_stream.checkpoint import RunInfo
    from hidden_two_stream.config.schema import Recipe
    from hidden_two_stream.inference.motion_estimator import MotionEstimator
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer
    from hidden_two_stream.inference.predictor import Recognizer
    from hidden_two_stream.training.resources import Resources

_MOST_THREADS = 256
DATA_HELP = (
    "folder with one sub-folder of videos per class, a CSV with the columns path,label, or a dataset by "
    "name: ucf101:ROOT:SPLIT, hmdb51:ROOT:SPLIT, thumos14:ROOT, activitynet:ROOT, kinetics:ROOT, "
    "tsn:TRAIN.txt:TEST.txt; or a folder that hts pack wrote, also as an address such as s3://bucket/packed"
)


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line; `missing` is the advice about a missing argument."""

    missing = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def error(self, message: str) -> NoReturn:  # noqa: D102
        if "arguments are required" in message:
            message += self.missing
        message += self._suggestion(message)
        note(f"{self.prog}: {message} (see {self.prog} --help)")
        raise SystemExit(UsageError.exit_code)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the arguments; those that are unknown are the business of the command's own parser."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            commands = self._commands()
            parser = commands.get(getattr(found, "command", None) or "", self)
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def _commands(self) -> dict[str, Parser]:
        """Return the parser of each command."""
        kinds = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return {name: parser for action in kinds for name, parser in action.choices.items()}

    def _suggestion(self, message: str) -> str:
        """Return the option or command that a wrong one may have meant, as the end of a message."""
        from difflib import get_close_matches

        unknown = re.match(r"unrecognized arguments: (.*)", message)
        if unknown:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            wrong = [word.split("=")[0] for word in unknown[1].split(" ") if word.startswith("--")]
        else:
            known = list(self._commands())
            wrong = re.findall(r"^argument COMMAND: invalid choice: '(.*?)'", message)
        near = dict.fromkeys(found for word in wrong for found in get_close_matches(word, known, n=1))
        return f"; did you mean {' '.join(near)}?" if near else ""

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse prints help and version here, and would pass over a full disk in silence.
        if message and (file is None or file is sys.stdout):
            print_text(message.rstrip("\n"))
        elif message:
            note(message)


def path_text(text: str) -> str:
    """Return the argument of an option that names a file, folder, run or dataset.

    Raises:
        argparse.ArgumentTypeError: it is empty, holds a NUL character, or is "-".
    """
    if not text:
        raise argparse.ArgumentTypeError("got an empty name; expected a path (. is this folder)")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"got {text!r}; a path cannot hold a NUL character")
    if text == "-":
        raise argparse.ArgumentTypeError(
            "got '-'; stdin and stdout are not supported; give a path (./- is a file of that name)"
        )
    return text


def path(text: str) -> Path:
    """Return the argument of an option as a path.

    Raises:
        argparse.ArgumentTypeError: as `path_text`.
    """
    return Path(path_text(text))


class _Once(argparse.Action):
    """Stores a value as argparse does, but rejects an option that is given twice; argparse keeps the last.

    The names of the options that were given, even with their default values, are in `given`.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse passes it
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given: set[str] = getattr(namespace, "given", set())
        if option_string is not None and self.dest in given:
            raise argparse.ArgumentError(self, "given twice; expected one value")
        setattr(namespace, self.dest, values)
        namespace.given = {*given, self.dest}


class Replacing(_Once):
    """An option that makes the last positional argument, `replaced`, optional."""

    def __init__(self, *arguments: Any, replaced: argparse.Action, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._replaced = replaced

    def __call__(  # noqa: D102
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        super().__call__(parser, namespace, values, option_string)
        self._replaced.required = False


def add_recipe(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --recipe and --set."""
    names = "nano, quick, nano-branched, thermal, tiny, paper, demo, ucf101/..., hmdb51/..."
    recipe = f"{names} or a YAML file (default: %(default)s)"
    parser.add_argument("--recipe", type=path_text, default=default, metavar="RECIPE", help=recipe)
    change = "change a field of the recipe, for example --set motion.steps=200; can be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=change)


def add_from_scratch(parser: argparse.ArgumentParser) -> None:
    """Add --from-scratch."""
    parser.add_argument("--from-scratch", action="store_true", help="begin with random weights, even if the "
                        "recipe begins with trained ones (motion_init, temporal_init)")  # fmt: skip


def add_allow_duplicates(parser: argparse.ArgumentParser) -> None:
    """Add --allow-duplicates."""
    parser.add_argument(
        "--allow-duplicates",
        action="store_true",
        help="test even on videos that are in training too, under another name or as frames",
    )


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Add --protocol."""
    parser.add_argument(
        "--protocol",
        default="10x1",
        help="test protocol: center, or NxM for N clips and M crops, such as 25x10 (default: %(default)s); "
        "10 crops are 5 and their mirror images, 5 if the training mirrored no clips",
    )


def add_address(parser: argparse.ArgumentParser, host: str, port: int) -> None:
    """Add --host and --port with their defaults."""
    parser.add_argument(
        "--host",
        default=host,
        help="address to listen at; any but the default lets others on the network in (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=port, help="port; 0: any free one (default: %(default)s)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device", default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads that compute (default: OMP_NUM_THREADS, or 1: more are slower beside other work)",
    )


def number_of_threads(arguments: argparse.Namespace) -> int | None:
    """Return the number of threads of a command that has --threads; None: it has not, or OpenMP decides.

    Raises:
        UsageError: it is out of range.
    """
    if not hasattr(arguments, "threads"):
        return None
    number: int | None = arguments.threads
    if number is not None:
        if not 1 <= number <= _MOST_THREADS:
            raise UsageError(f"--threads is {number}; expected 1 to {_MOST_THREADS}")
        return number
    given = os.environ.get(THREADS_VARIABLE, "").strip()
    if not given:
        return 1
    return int(given) if given.isdecimal() and 1 <= int(given) <= _MOST_THREADS else None


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers."""
    parser.add_argument(
        "--workers", type=int, help="worker processes that decode videos (default: one per core, at most 8)"
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add --cache-mb."""
    parser.add_argument(
        "--cache-mb",
        type=int,
        default=2048,
        help="memory for decoded frames, MiB; if the frames of all videos need more, clips are decoded when "
        "they are used (default: %(default)s)",
    )


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the seed, workers, memory and devices of a training run."""
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of everything random (default: %(default)s)"
    )
    add_workers(parser)
    add_cache(parser)
    parser.add_argument(
        "--accelerator", default="auto", help="kind of device: auto, cpu, cuda, mps (default: %(default)s)"
    )
    parser.add_argument(
        "--devices", default="1", help="number of devices of each machine, or auto (default: %(default)s)"
    )
    parser.add_argument(
        "--num-nodes", type=int, default=1, help="machines that train together (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        default="32-true",
        help="numeric precision: 32-true, bf16-mixed, 16-mixed (default: %(default)s)",
    )


def checked_recipe(arguments: argparse.Namespace) -> Recipe:
    """Return the recipe that the arguments name, after checks that need no PyTorch.

    Raises:
        UsageError: there is nothing at the data; the recipe, a field or the protocol is unknown.
    """
    with collector_paused():
        from hidden_two_stream.data.index import require_data
        from hidden_two_stream.training import arguments as checks

        require_data(arguments.data)
        return checks.checked_recipe(
            arguments.recipe,
            overrides(arguments),
            protocol=arguments.protocol,
            seed=arguments.seed,
        )


def resources(arguments: argparse.Namespace) -> Resources:
    """Return the values of the arguments that `add_resources` added.

    Raises:
        UsageError: a number is out of range.
    """
    from hidden_two_stream.training.resources import Resources

    if arguments.cache_mb < 0:
        raise UsageError(f"--cache-mb is {arguments.cache_mb}; expected 0 or more")
    return Resources(
        workers=workers(arguments),
        cache_mb=arguments.cache_mb,
        accelerator=arguments.accelerator,
        devices=arguments.devices,
        num_nodes=arguments.num_nodes,
        precision=arguments.precision,
        quiet=arguments.quiet,
    )


def workers(arguments: argparse.Namespace) -> int:
    """Return the number of worker processes.

    Raises:
        UsageError: it is negative, or more than any machine has use for.
    """
    from hidden_two_stream.data.clip_cache import default_workers

    number: int | None = arguments.workers
    if number is None:
        return default_workers()
    if not 0 <= number <= MOST_WORKERS:
        raise UsageError(f"--workers is {number}; expected 0 to {MOST_WORKERS}")
    return number


def show(arguments: argparse.Namespace, result: Any, text: str) -> None:
    """Print `result` as JSON with --json, else `text`."""
    if arguments.json:
        print_json(result)
    else:
        print_text(text)


def overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the changes of the recipe's fields, by --set and by options that set a field.

    Raises:
        UsageError: --from-scratch contradicts another option.
    """
    changes: list[str] = list(arguments.set)
    if getattr(arguments, "init", None) is not None:
        changes.append(f"init={arguments.init}")
    if arguments.from_scratch:
        for part in ("motion", "temporal"):
            if getattr(arguments, f"{part}_from", None) is not None:
                raise UsageError(f"--{part}-from brings a trained MotionNet: leave out --from-scratch")
        changes += ["motion_init=none", "temporal_init=none"]
    return changes


def add_motion_source(parser: Parser, options: str = "") -> None:
    """Add RUN VIDEO, or --network WEIGHTS VIDEO: whose MotionNet looks at which video.

    Args:
        parser: the parser of the command.
        options: what the usage line names besides.
    """
    ending = f" {options}" if options else ""
    parser.usage = (
        f"%(prog)s [options] RUN VIDEO{ending}\n       %(prog)s [options] --network WEIGHTS VIDEO{ending}"
    )
    parser.add_argument(
        "run",
        type=path_text,
        metavar="RUN",
        help="run folder or checkpoint file; leave it out with --network",
    )
    parser.missing = "; give RUN VIDEO, or --network nano VIDEO"
    video = parser.add_argument(
        "video", type=path_text, metavar="VIDEO", help="video file, URL or folder of frames"
    )
    parser.add_argument(
        "--network",
        type=path_text,
        metavar="WEIGHTS",
        action=Replacing,
        replaced=video,
        help="use a trained MotionNet without a run: the name of shipped weights, such as nano, or a file of "
        "motion weights",
    )
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PX",
        help="shorter side of the frames that MotionNet sees (default: RUN's input size; with --network "
        "VIDEO's own, at most 256 and, except for nano, at least 128)",
    )


def pin_run(arguments: argparse.Namespace) -> None:
    """If RUN is a model of the hub, replace it by its name with the commit, and print that.

    Raises:
        HiddenTwoStreamError: as `weights.hub.find_run`.
    """
    run = getattr(arguments, "run", None)
    if not isinstance(run, str) or getattr(arguments, "network", None) is not None:
        return
    if hub_name(run) is None or os.path.lexists(run):
        return
    from hidden_two_stream.weights.hub import find_run

    arguments.run = find_run(run).source
    note(f"hts: run {arguments.run}", quiet=arguments.quiet)


def open_motion(arguments: argparse.Namespace) -> tuple[MotionEstimator, str]:
    """Return the MotionNet and the video that the arguments of `add_motion_source` name.

    Raises:
        UsageError: a run and a network are both given.
    """
    from hidden_two_stream.inference.motion_estimator import motion_estimator

    if arguments.network is None:
        return open_recognizer(arguments).motion_estimator, arguments.video
    if arguments.video is None:
        return motion_estimator(arguments.network, arguments.device), arguments.run
    raise UsageError(
        f"--network {arguments.network} and the run {arguments.run!r} both give a MotionNet; leave one out"
    )


def open_scorer(arguments: argparse.Namespace) -> Recognizer | OnnxRecognizer:
    """Return the recognizer of the run, or of the ONNX file, that the command names.

    PyTorch is not imported for an ONNX file.

    Raises:
        UsageError: an ONNX file is to be used on another device than the CPU.
        CheckpointError: no stream was trained.
    """
    with collector_paused():
        from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX, load_onnx

    found: Recognizer | OnnxRecognizer
    if arguments.run.lower().endswith(ONNX_SUFFIX):
        if arguments.device != "cpu":
            raise UsageError(f"--device is {arguments.device}, but ONNX files run on the cpu; leave it out")
        with collector_paused():
            found = load_onnx(arguments.run, number_of_threads(arguments) or 0)
    else:
        found = open_recognizer(arguments)
    require_trained(found.trained_streams, repr(arguments.run))
    return found


def require_run(arguments: argparse.Namespace) -> None:
    """Check that there is a run where the command names one, before PyTorch is imported, which takes seconds.

    Raises:
        UsageError, CheckpointError: there is none.
    """
    from hidden_two_stream.checkpoint import checkpoint_file
    from hidden_two_stream.weights.hub import find_run

    checkpoint_file(find_run(arguments.run).path)


def describe_scorer(arguments: argparse.Namespace) -> RunInfo:
    """Return the description of what `open_scorer` opens, without PyTorch.

    Raises:
        UsageError, CheckpointError: as `open_scorer`.
    """
    from hidden_two_stream.inference.many import describe_run

    return describe_run(arguments.run, arguments.device)


def open_recognizer(arguments: argparse.Namespace) -> Recognizer:
    """Return the recognizer of the run that the command names."""
    with collector_paused():
        require_run(arguments)
        from hidden_two_stream.inference.predictor import load

        return load(arguments.run, arguments.device)
