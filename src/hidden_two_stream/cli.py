"""The `hts` command line: parsing only. What a command does is in `commands`, imported when it is called."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hidden_two_stream._version import __version__
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError

if TYPE_CHECKING:
    from hidden_two_stream.commands.fit import Resources
    from hidden_two_stream.inference.predictor import Recognizer

__all__ = ["main"]

DATA_HELP = (
    "folder with one sub-folder of videos per class, a CSV with the columns path,label, or a data set by "
    "name: ucf101:ROOT:SPLIT, hmdb51:ROOT:SPLIT, thumos14:ROOT, activitynet:ROOT, kinetics:ROOT, "
    "tsn:TRAIN.txt:TEST.txt"
)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line; `missing` says what to give where one is left out."""

    missing = ""

    def error(self, message: str) -> NoReturn:
        if "arguments are required" in message:
            message += self.missing
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(UsageError.exit_code)


class _Replacing(argparse.Action):
    """An option in whose presence the last positional argument, `replaced`, may be left out."""

    def __init__(self, *arguments: Any, replaced: argparse.Action, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._replaced = replaced

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse hands them over
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        setattr(namespace, self.dest, values)
        self._replaced.required = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Without `argv` the command is the whole process: once interrupted, it ends deaf to more of Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    handler = signal.getsignal(signal.SIGINT)
    try:
        return _run(arguments)
    except KeyboardInterrupt as interrupt:
        what = interrupt
    try:
        try:
            return _interrupted(what, arguments)
        except KeyboardInterrupt:  # again, before it could be ignored
            return _interrupted(what, arguments)
    finally:
        if argv is not None and handler is not None and _may_set_signals():
            signal.signal(signal.SIGINT, handler)


def _run(arguments: argparse.Namespace) -> int:
    debug: bool = arguments.debug
    try:
        handler: Callable[[argparse.Namespace], int] = arguments.handler
        return handler(arguments)
    except HiddenTwoStreamError as error:
        if debug:
            raise
        print(f"hts: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        first = (str(error).splitlines() or [""])[0]
        print(f"hts: unexpected {kind}: {first} (run again with --debug for the details)", file=sys.stderr)
        return 1


def _interrupted(interrupt: KeyboardInterrupt, arguments: argparse.Namespace) -> int:
    """Say how to go on after Ctrl-C, where a plan says that one can; another is nothing to the exit."""
    if _may_set_signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    from hidden_two_stream.commands import PLAN_FILE

    go_on = ""
    if hasattr(arguments, "resume") and (arguments.out / PLAN_FILE).exists():
        alone = arguments.handler is _train  # the others want to be told all anew
        go_on = "; go on with " + (
            f"hts train --resume --out {arguments.out}" if alone else "the same command and --resume"
        )
    print(f"hts: {str(interrupt) or 'interrupted'}{go_on}", file=sys.stderr)
    return 130


def _may_set_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hts", description="Action recognition from raw video, with motion learned inside the network."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, handler: Callable[[argparse.Namespace], int], summary: str) -> _Parser:
        sub: _Parser = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(handler=handler)
        sub.add_argument(
            "--json", action="store_true", help="print one JSON document on stdout and nothing else there"
        )
        sub.add_argument("--quiet", action="store_true", help="no progress on stderr")
        sub.add_argument("--debug", action="store_true", help="show tracebacks")
        return sub

    demo = command("demo", _demo, "the whole story on generated video: learn, test, compare, report")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder (default: %(default)s)")
    _add_recipe(demo, "demo")
    _add_resources(demo)

    check = command("check", _check, "decode everything; list what is unreadable, class balance, lengths")
    check.add_argument("data", metavar="DATA", help=DATA_HELP)
    _add_workers(check)

    prepare = command("prepare", _prepare, "is a copy of a research data set whole, and are its lists right?")
    prepare.add_argument(
        "name", metavar="NAME", help="ucf101, hmdb51, thumos14, activitynet, kinetics or tsn"
    )
    prepare.add_argument("root", metavar="ROOT", help="its folder; of kinetics also a CSV; of tsn "
                         "TRAIN.txt or TRAIN.txt:TEST.txt")  # fmt: skip
    prepare.add_argument(
        "--splits", metavar="1..3", help="of ucf101 and hmdb51: one, or a range (default: all)"
    )
    prepare.add_argument("--decode", action="store_true", help="decode all videos to their ends (default: "
                         "open each up to its first frame)")  # fmt: skip
    prepare.add_argument("--out", type=Path, metavar="FILE", help="write all missing and unreadable videos")
    _add_workers(prepare)

    generate = command("generate", _generate, "write a fixed, generated benchmark: videos with exact motion")
    generate.add_argument("name", metavar="NAME", help="motions-v1: twelve motions in three grades")
    generate.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder, "
                          "or one where this was stopped; its labels.csv (path,label,split,grade) is what "
                          "--data takes")  # fmt: skip
    generate.add_argument(
        "--workers", type=int, help="processes that share the work (default: one per core, at most 8)"
    )

    train = command("train", _train, "train a recogniser: stages motion, spatial, temporal, joint")
    train.add_argument("--data", metavar="DATA", help=DATA_HELP)
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    _add_recipe(train, "nano")
    train.add_argument("--stage", default="all", help="all, or only one of motion, spatial, temporal, joint")
    train.add_argument("--test-fraction", type=float, default=0.25, help="part of each class kept for the "
                       "test where the data has no split of its own (default: %(default)s)")  # fmt: skip
    train.add_argument(
        "--hold-out", metavar="COLUMN=VALUE", help="test on these samples instead, such as subject=3"
    )
    train.add_argument(
        "--motion-from", metavar="RUN", help="take MotionNet from this run instead of training it"
    )
    train.add_argument(
        "--spatial-from", metavar="RUN", help="take the spatial stream from this run instead of training it"
    )
    train.add_argument("--temporal-from", metavar="RUN", help="take the temporal stream and its MotionNet "
                       "from this run instead of training them (with --stage joint: before)")  # fmt: skip
    train.add_argument("--init", metavar="WEIGHTS", help="where the streams' backbones begin: imagenet, a "
                       "state dict (file or URL), or none (default: the recipe's)")  # fmt: skip
    _add_from_scratch(train)
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    _add_protocol(train)
    _add_resources(train)

    folds = command(
        "cross-validate", _cross_validate, "one fold per group or official split: train, test, means"
    )
    folds.add_argument("--data", required=True, metavar="DATA", help="CSV with path,label and the group's "
                       "column, or official splits: ucf101:ROOT:1..3, hmdb51:ROOT:1..3")  # fmt: skip
    folds.add_argument(
        "--group", metavar="COLUMN", help="column of the CSV to leave one out of, such as subject"
    )
    folds.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for all folds")
    _add_recipe(folds, "nano")
    _add_from_scratch(folds)
    folds.add_argument("--resume", action="store_true", help="keep complete folds and go on with the others")
    _add_protocol(folds)
    _add_resources(folds)

    compare = command(
        "compare", _compare, "hidden motion against computed flow, frames and differences, on the same splits"
    )
    compare.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    compare.add_argument("--group", metavar="COLUMN", help="leave one value of this column of the CSV out, "
                         "each in turn, such as subject (default: the data's own split)")  # fmt: skip
    compare.add_argument("--out", type=Path, required=True, metavar="DIR", help="table, plot, flow and runs")
    compare.add_argument("--methods", metavar="A,B,...", help="of spatial, frames, difference, tvl1, "
                         "dis-medium, dis-fast, farneback, hidden-frozen, hidden-joint, branched, "
                         "raft-small, raft-large, or your own package.module:function, from (T, H, W, 3) "
                         "uint8 frames to (T-1, 2, H, W) px; with @2 to @8 behind it, an estimator sees "
                         "pictures so many times as large (default: all, without RAFT and @)")  # fmt: skip
    compare.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="runs of each method (default: %(default)s)"
    )
    compare.add_argument("--resume", action="store_true", help="keep flow and runs that are complete")
    _add_recipe(compare, "nano")
    _add_from_scratch(compare)
    _add_protocol(compare)
    _add_resources(compare)

    evaluate = command("evaluate", _evaluate, "accuracy per stream and fused, confusion matrix")
    evaluate.add_argument("run", metavar="RUN", help="run folder or checkpoint file")
    evaluate.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    evaluate.add_argument(
        "--split", help="test, train or all (default: test on the data that the run was trained on, else all)"
    )
    evaluate.add_argument("--save-scores", type=Path, metavar="FILE",
                          help="write all scores, for hts fuse and others: .npz or .csv")  # fmt: skip
    _add_protocol(evaluate)
    _add_device(evaluate)
    _add_workers(evaluate)

    fuse = command("fuse", _fuse, "late fusion of score files: accuracy of each and fused")
    fuse.add_argument("scores", nargs="+", metavar="SCORES", help="FILE or FILE:STREAM; .npz or .csv of hts "
                      "evaluate --save-scores, or .mat, a row per video and a column per class")  # fmt: skip
    fuse.add_argument("--labels", type=Path, required=True, metavar="LIST", help="the videos and their "
                      "classes: lines of CLASS/video or of path label, or a CSV with path,label")  # fmt: skip
    fuse.add_argument("--weights", type=float, nargs="+", metavar="W", help="one per stream; the paper's are "
                      "1 1.5 for spatial and temporal (default: all equal)")  # fmt: skip
    fuse.add_argument("--method", default="l1", help="l1, softmax or product (default: %(default)s)")
    fuse.add_argument("--search", type=Path, metavar="VALIDATION_LIST", help="take the weights that are best "
                      "on these videos of LIST, and test on the others")  # fmt: skip
    fuse.add_argument("--classes", type=Path, metavar="FILE", help="order of the columns of files without "
                      "class names, such as classInd.txt (default: alphabetical)")  # fmt: skip

    predict = command("predict", _predict, "label videos: files, folders, globs, frame folders, URLs")
    predict.add_argument("run", metavar="RUN", help="run folder or checkpoint file")
    predict.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="videos (put -- before names that begin with a dash)"
    )
    predict.add_argument("--top", type=int, default=3, help="classes to print (default: %(default)s)")
    _add_protocol(predict)
    _add_device(predict)

    bench = command("bench", _bench, "the networks: parameters, multiply-accumulates, layer shapes")
    bench.add_argument("--models", nargs="*", required=True, metavar="NAME",
                       help="all networks, or those named, with their layers")  # fmt: skip
    bench.add_argument(
        "--size", type=int, default=224, metavar="PX", help="side of the input (default: %(default)s)"
    )

    flow = command("flow", _flow, "the learned motion as a colour video beside the frames, or as .flo files")
    flow.usage = "%(prog)s [options] RUN VIDEO\n       %(prog)s [options] --model NAME VIDEO"
    flow.add_argument("run", metavar="RUN", help="run folder or checkpoint file; not with --model")
    flow.missing = "; give RUN VIDEO, or --model nano VIDEO"
    video = flow.add_argument("video", metavar="VIDEO", help="video file, URL or folder of frames")
    flow.add_argument("--model", metavar="NAME", action=_Replacing, replaced=video, help="a trained "
                      "MotionNet of the package, such as nano, or a file of motion weights")  # fmt: skip
    flow.add_argument("-o", "--out", type=Path, metavar="OUT", help="video file, or folder for .flo files "
                      "(default: VIDEO's name with .flow.mp4, in this folder)")  # fmt: skip
    flow.add_argument("--short-side", type=int, metavar="PX", help="shorter side of MotionNet's pictures "
                      "(default: as RUN was trained; with --model the video's own, at most 256, and at "
                      "least 128 but for nano)")  # fmt: skip
    flow.add_argument(
        "--max-px", type=float, metavar="PX", help="motion of full colour (default: from the video)"
    )
    _add_device(flow)

    caffe = command("import-caffe", _import_caffe, "the authors' published Caffe weights as a run")
    caffe.add_argument("file", type=Path, metavar="FILE", help="binary .caffemodel")
    caffe.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder")
    caffe.add_argument("--labels", type=Path, metavar="LABELS", help="text file with one class name a line, "
                       "in the order of the outputs, or numbered like UCF101's classInd.txt")  # fmt: skip
    return parser


def _add_recipe(parser: argparse.ArgumentParser, default: str) -> None:
    recipe = "nano, thermal, tiny, paper, demo, ucf101/..., hmdb51/... or a YAML file (default: %(default)s)"
    parser.add_argument("--model", default=default, metavar="RECIPE", help=recipe)
    change = "change a field of the recipe, for example --set motion.steps=200; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=change)


def _add_from_scratch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from-scratch", action="store_true", help="begin with a random MotionNet where the "
                        "recipe begins with trained weights (motion_init)")  # fmt: skip


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol",
        default="10x1",
        help="center, or NxM clips x crops, such as 25x10 (default: %(default)s)",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: %(default)s)")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=int, help="processes that decode (default: one per core, at most 8)"
    )


def _add_resources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    _add_workers(parser)
    parser.add_argument(
        "--cache-mb", type=int, default=2048, help="memory for decoded frames, MiB (default: %(default)s)"
    )
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps (default: %(default)s)")
    parser.add_argument("--devices", default="1", help="number of devices, or auto (default: %(default)s)")
    parser.add_argument(
        "--precision", default="32-true", help="32-true, bf16-mixed, 16-mixed (default: %(default)s)"
    )


def _resources(arguments: argparse.Namespace) -> Resources:
    from hidden_two_stream.commands.fit import Resources

    return Resources(
        seed=arguments.seed,
        workers=_workers(arguments),
        cache_mb=arguments.cache_mb,
        accelerator=arguments.accelerator,
        devices=arguments.devices,
        precision=arguments.precision,
        quiet=arguments.quiet,
    )


def _workers(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.video.store import default_workers

    if arguments.workers is None:
        return default_workers()
    if arguments.workers < 0:
        raise UsageError(f"--workers is {arguments.workers}; expected 0 or more")
    workers: int = arguments.workers
    return workers


def _show(arguments: argparse.Namespace, result: Any, text: str) -> None:
    from hidden_two_stream.commands.console import print_json

    if arguments.json:
        print_json(result)
    else:
        print(text)


def _demo(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.demo import demo_command, demo_text

    result = demo_command(arguments.out, _resources(arguments), arguments.model, tuple(arguments.set))
    _show(arguments, result, demo_text(result, arguments.out))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.check import check_command, check_text

    result = check_command(arguments.data, _workers(arguments), quiet=arguments.quiet)
    _show(arguments, result, check_text(result))
    return 1 if result["unreadable"] else 0


def _prepare(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.prepare import prepare_command, prepare_text

    result = prepare_command(
        arguments.name,
        arguments.root,
        splits=arguments.splits,
        decode_all=arguments.decode,
        workers=_workers(arguments),
        out=arguments.out,
        quiet=arguments.quiet,
    )
    _show(arguments, result, prepare_text(result))
    return 0 if result["complete"] else 1


def _generate(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.generate import generate_command, generate_text

    result = generate_command(arguments.name, arguments.out, _workers(arguments), quiet=arguments.quiet)
    _show(arguments, result, generate_text(result))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.evaluate import evaluation_text
    from hidden_two_stream.commands.train import make_plan, train_command

    plan = None
    if arguments.resume:
        _refuse_changes(arguments)
    if arguments.data is not None:
        plan = make_plan(
            arguments.data,
            arguments.model,
            _overrides(arguments),
            arguments.stage,
            test_fraction=arguments.test_fraction,
            seed=arguments.seed,
            taken={
                part: run
                for part in ("motion", "spatial", "temporal")
                if (run := getattr(arguments, f"{part}_from")) is not None
            },
            protocol=arguments.protocol,
            held_out=arguments.hold_out,
        )
    result, _, _ = train_command(arguments.out, plan, _resources(arguments), arguments.resume)
    if not result:  # one of several processes, and not the first
        return 0
    tested = evaluation_text(result) if "accuracy" in result else "trained; no test"
    _show(arguments, result, f"{tested}\nreport: {arguments.out / 'report.html'}")
    return 0


def _overrides(arguments: argparse.Namespace) -> list[str]:
    """Changes of the recipe's fields, by --set and by options that stand for some."""
    changes: list[str] = list(arguments.set)
    if getattr(arguments, "init", None) is not None:
        changes.append(f"init={arguments.init}")
    if arguments.from_scratch:
        for part in ("motion", "temporal"):
            if getattr(arguments, f"{part}_from", None) is not None:
                raise UsageError(f"--{part}-from takes a trained MotionNet: leave out --from-scratch")
        changes.append("motion_init=none")
    return changes


def _refuse_changes(arguments: argparse.Namespace) -> None:
    """What a run was started with cannot be changed by --resume, so it must not look as if it could."""
    started_with: dict[str, object] = {
        "data": None, "model": "nano", "set": [], "stage": "all", "test_fraction": 0.25,
        "hold_out": None, "motion_from": None, "spatial_from": None, "temporal_from": None, "init": None,
        "from_scratch": False, "protocol": "10x1", "seed": 0,
    }  # fmt: skip
    given = [f"--{name.replace('_', '-')}" for name, default in started_with.items()
             if getattr(arguments, name) != default]  # fmt: skip
    if given:
        raise UsageError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")


def _cross_validate(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.cross_validate import cross_validate_command, cross_validation_text
    from hidden_two_stream.config import load_recipe

    recipe = load_recipe(arguments.model, _overrides(arguments))
    result = cross_validate_command(
        arguments.data,
        arguments.group,
        arguments.out,
        recipe,
        _resources(arguments),
        arguments.protocol,
        arguments.resume,
    )
    _show(arguments, result, cross_validation_text(result))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.compare import available_methods, compare_command
    from hidden_two_stream.config import load_recipe

    recipe = load_recipe(arguments.model, _overrides(arguments))
    named = arguments.methods
    methods = available_methods() if named is None else [name for name in named.split(",") if name]
    result = compare_command(
        arguments.data,
        arguments.group,
        arguments.out,
        recipe,
        _resources(arguments),
        methods=methods,
        seeds=arguments.seeds,
        protocol=arguments.protocol,
        resume=arguments.resume,
    )
    _show(arguments, {key: value for key, value in result.items() if key != "text"}, result["text"])
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.evaluate import evaluate_command, evaluation_text

    result = evaluate_command(
        arguments.run,
        arguments.data,
        part=arguments.split,
        protocol=arguments.protocol,
        device=arguments.device,
        workers=_workers(arguments),
        save_scores=arguments.save_scores,
        quiet=arguments.quiet,
    )
    _show(arguments, result, evaluation_text(result))
    return 0


def _fuse(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.fuse import fuse_command, fusion_text

    result = fuse_command(
        arguments.scores,
        arguments.labels,
        weights=arguments.weights,
        method=arguments.method,
        search=arguments.search,
        classes=arguments.classes,
    )
    _show(arguments, result, fusion_text(result))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.console import print_json
    from hidden_two_stream.commands.predict import expand_sources, predict_command
    from hidden_two_stream.errors import VideoError

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    recognizer = _recognizer(arguments)
    predictions, failed = [], []
    for outcome in predict_command(recognizer, expand_sources(arguments.sources), arguments.protocol):
        if isinstance(outcome, VideoError):
            failed.append({"source": outcome.source, "reason": outcome.reason})
            print(f"hts: {outcome}", file=sys.stderr)
            continue
        predictions.append(outcome.to_dict(arguments.top))
        if not arguments.json:
            best = ", ".join(f"{name} {score:.2f}" for name, score in outcome.top(arguments.top))
            print(f"{outcome.source}: {best}", flush=True)
        for warning in outcome.warnings:
            print(f"hts: {outcome.source}: {warning}", file=sys.stderr)
    if arguments.json:
        print_json({"run": arguments.run, "predictions": predictions, "unreadable": failed})
    return 1 if failed else 0


def _bench(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.bench import bench_models, bench_models_text

    result = bench_models(arguments.models, arguments.size)
    _show(arguments, result, bench_models_text(result, layers=bool(arguments.models)))
    return 0


def _flow(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.console import number_of
    from hidden_two_stream.commands.flow import default_output, flow_command
    from hidden_two_stream.inference.motion import motion_estimator

    if arguments.max_px is not None and not arguments.max_px > 0:
        raise UsageError(f"--max-px is {arguments.max_px}; expected a positive number")
    if arguments.model is None:
        estimator, video = _recognizer(arguments).motion_estimator, arguments.video
    elif arguments.video is None:
        estimator, video = motion_estimator(arguments.model, arguments.device), arguments.run
    else:
        raise UsageError(
            f"--model {arguments.model} and the run {arguments.run!r} both give a MotionNet; leave one out"
        )
    out = default_output(video) if arguments.out is None else arguments.out
    result = flow_command(estimator, video, out, arguments.short_side, arguments.max_px)
    for warning in result["warnings"]:
        print(f"hts: {video}: {warning}", file=sys.stderr)
    _show(
        arguments,
        result,
        f"{result['output']}: motion of {number_of(result['num_pairs'], 'frame pair')} of {result['source']}",
    )
    return 0


def _import_caffe(arguments: argparse.Namespace) -> int:
    from hidden_two_stream.commands.import_caffe import import_caffe_command, import_caffe_text

    result = import_caffe_command(arguments.file, arguments.out, arguments.labels)
    _show(arguments, result, import_caffe_text(result))
    return 0


def _recognizer(arguments: argparse.Namespace) -> Recognizer:
    from hidden_two_stream.inference.predictor import load

    return load(arguments.run, arguments.device)
