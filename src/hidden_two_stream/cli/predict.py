"""`hts predict`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidden_two_stream.cli.bulk import (
    add_bulk,
    named_sources,
    require_no_table_options,
    shard_of,
    write_table,
)
from hidden_two_stream.cli.options import (
    Parser,
    add_device,
    add_protocol,
    add_threads,
    describe_scorer,
    open_scorer,
    path,
    path_text,
)
from hidden_two_stream.cli.output import print_json, print_text
from hidden_two_stream.cli.sources import Failure, add_videos, attempt
from hidden_two_stream.environment import MOST_WORKERS
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.printing import one_line
from hidden_two_stream.progress import lazy_progress, note

if TYPE_CHECKING:
    from hidden_two_stream.bulk.collect import BulkResult
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer
    from hidden_two_stream.inference.predictor import Recognizer
    from hidden_two_stream.inference.windows import Protocol
    from hidden_two_stream.types import Prediction

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "label videos: files, folders, globs, frame folders or URLs"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts predict`."""
    videos = add_videos(parser, "run folder, checkpoint file, or an exported model.onnx")
    parser.add_argument(
        "--top", type=int, default=3, help="number of classes to print per video (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="fused score below which no class fits; 0: a class always fits (default: the run's calibration "
        "decides)",
    )
    parser.add_argument(
        "--explain",
        type=path,
        metavar="FOLDER",
        help="also write where and when each stream sees its evidence: a picture (NAME.png) and numbers "
        "(NAME.json) into FOLDER",
    )
    parser.add_argument(
        "--explain-class", metavar="CLASS", help="the class to explain (default: the best one of each video)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes for many videos, each with one thread (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=path_text,
        metavar="FILE",
        help="write a table, .jsonl or .parquet, and beside it one of the videos that failed; the same "
        "command goes on where it was stopped",
    )
    add_bulk(parser, videos)
    add_protocol(parser)
    add_device(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.inference.windows import parse_protocol, run_protocol
    from hidden_two_stream.types import require_threshold

    if arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; expected 1 or more")
    require_threshold(arguments.threshold)
    parse_protocol(arguments.protocol)
    _check_workers(arguments)
    if arguments.out is not None:
        return write_table(arguments, "labeled", ("explain", "explain_class"), _table(arguments))
    require_no_table_options(arguments, "--out FILE")
    # Worker processes hold recognizers of their own, so this one needs only the description.
    recognizer = None if arguments.workers > 1 else open_scorer(arguments)
    info = describe_scorer(arguments) if recognizer is None else recognizer.info
    protocol = run_protocol(arguments.protocol, info.recipe, note)
    named, left_out = named_sources(arguments, "labeled")
    sources = shard_of(arguments, named)
    if recognizer is None and len(sources) < 2:
        recognizer = open_scorer(arguments)
    explainer = None if recognizer is None else _explainer(arguments, recognizer, protocol, sources)
    predictions: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    result = {"run": arguments.run, "predictions": predictions, "unreadable": failed, "left_out": left_out}
    try:
        for source, predict in _work(arguments, recognizer, protocol, sources):
            prediction = attempt(source, predict, arguments.debug)
            if isinstance(prediction, Failure):
                failed.append({"source": source, "reason": prediction.reason})
                continue
            predictions.append(prediction.to_dict(arguments.top))
            if not arguments.json:
                print_text(one_line(prediction.line(arguments.top)))
            if explainer is not None:
                explained = attempt(source, partial(explainer.write, source), arguments.debug)
                if isinstance(explained, Failure):
                    failed.append({"source": source, "reason": explained.reason})
                else:
                    predictions[-1]["explanation"] = explained
                    if not arguments.json:
                        print_text(one_line(f"  why: {explained['image']}"))
            for warning in prediction.warnings:
                note(f"hts: {prediction.source}: {warning}")
    except KeyboardInterrupt:
        if arguments.json and predictions:  # what is finished is not lost
            print_json(result)
        raise
    if arguments.json:
        print_json(result)
    return 1 if failed else 0


def _table(arguments: argparse.Namespace) -> Callable[..., BulkResult]:
    from hidden_two_stream.bulk.predict import predict_table

    return partial(
        predict_table,
        arguments.run,
        out=arguments.out,
        protocol=arguments.protocol,
        threshold=arguments.threshold,
        top=arguments.top,
    )


def _check_workers(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.workers <= MOST_WORKERS:
        raise UsageError(f"--workers is {arguments.workers}; expected 1 to {MOST_WORKERS}")
    if arguments.explain is None and arguments.explain_class is not None:
        raise UsageError("--explain-class needs --explain FOLDER")
    if arguments.workers > 1 and arguments.explain is not None:
        raise UsageError("--explain works in one process; leave out --workers")
    if arguments.workers > 1 and (arguments.threads or 1) > 1:
        raise UsageError("each of the --workers has one thread; leave out --threads")


def _work(
    arguments: argparse.Namespace,
    recognizer: Recognizer | OnnxRecognizer | None,
    protocol: Protocol,
    sources: Sequence[str],
) -> Iterator[tuple[str, Callable[[], Prediction]]]:
    """Yield each video, and a function that returns its prediction or raises why there is none.

    Without a recognizer, worker processes predict.
    """
    if recognizer is not None:
        for source in sources:
            yield (
                source,
                partial(recognizer.predict, source, protocol.name, threshold=arguments.threshold),
            )
        return
    from hidden_two_stream.inference.many import predict_many

    outcomes = predict_many(
        arguments.run,
        sources,
        protocol.name,
        threshold=arguments.threshold,
        workers=min(arguments.workers, len(sources)),
        device=arguments.device,
    )
    for source, outcome in zip(sources, outcomes, strict=True):
        yield source, partial(_returned, outcome)


def _returned(outcome: Prediction | HiddenTwoStreamError) -> Prediction:
    if isinstance(outcome, HiddenTwoStreamError):
        raise outcome
    return outcome


def _explainer(
    arguments: argparse.Namespace,
    recognizer: Recognizer | OnnxRecognizer,
    protocol: Protocol,
    sources: Sequence[str],
) -> _Explainer | None:
    """Return what explains each video, after a check of the arguments; None: nothing is to be explained.

    Raises:
        UsageError: there is no such class, the protocol has too many windows, or the model is exported.
        MissingDependencyError: OpenCV, which draws the text, is not installed.
        OutputError: the folder cannot be made.
    """
    if arguments.explain is None:
        return None
    from hidden_two_stream.inference.onnx_recognizer import OnnxRecognizer

    if isinstance(recognizer, OnnxRecognizer):
        raise UsageError("--explain needs gradients, which an ONNX file does not give; name the run itself")
    from hidden_two_stream.files import make_folder
    from hidden_two_stream.inference.explain import DEFAULT_STRETCHES, check_explained
    from hidden_two_stream.inference.windows import parse_protocol
    from hidden_two_stream.reports.drawing import opencv
    from hidden_two_stream.reports.explanation import explanation_names

    single = parse_protocol("center" if protocol.name == "center" else f"{protocol.clips}x1")
    check_explained(single, DEFAULT_STRETCHES)
    wanted = arguments.explain_class
    if wanted is not None and wanted not in recognizer.classes:
        known = ", ".join(recognizer.classes)
        raise UsageError(f"--explain-class is {wanted!r}; this run has the classes {known}")
    opencv()
    if single != protocol:
        note(f"hts: explained with protocol {single.name}: only the center crops of {protocol.name}")
    return _Explainer(
        recognizer, wanted, single.name, make_folder(arguments.explain), explanation_names(sources)
    )


@dataclass(frozen=True)
class _Explainer:
    """Explains videos, and writes the explanations."""

    recognizer: Recognizer
    label: str | None
    protocol: str
    folder: Path
    names: Mapping[str, str]

    def write(self, source: str) -> dict[str, str]:
        """Write the explanation of one video and return the paths of its files."""
        from hidden_two_stream.reports.explanation import write_explanation

        with lazy_progress("explain") as progress:
            explanation = self.recognizer.explain(source, self.label, self.protocol, progress=progress)
        picture, numbers = write_explanation(explanation, self.folder, self.names[source])
        return {"image": str(picture), "numbers": str(numbers)}
