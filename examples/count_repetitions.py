"""Count the repetitions of an action live, and ring a bell at each.

    python examples/count_repetitions.py RUN SOURCE LABEL [--enter 0.7] [--leave 0.4]

SOURCE is the number of a camera, the URL of a stream, or a video file. A repetition begins when the score of
LABEL reaches --enter, and is over when it falls below --leave: two thresholds, so that a score that trembles
about one of them is not counted twice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

import hidden_two_stream as hts
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.inference.stream import StreamSettings
from hidden_two_stream.types import Decision

BELL = "\a"


def repetitions(decisions: Iterable[Decision], label: str, enter: float, leave: float) -> Iterator[float]:
    """Yield the time at which each repetition begins, s."""
    is_inside = False
    for decision in decisions:
        score = float(decision.scores[decision.classes.index(label)])
        if not is_inside and score >= enter:
            is_inside = True
            yield decision.end_seconds
        elif is_inside and score < leave:
            is_inside = False


def main() -> None:
    """Print a line per repetition."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("source")
    parser.add_argument("label")
    parser.add_argument("--enter", type=float, default=0.7)
    parser.add_argument("--leave", type=float, default=0.4)
    parser.add_argument("--smooth", type=float, default=0.3, help="mean of the scores over so many seconds")
    arguments = parser.parse_args()
    recognizer = hts.load(arguments.run)
    if arguments.label not in recognizer.classes:
        raise UsageError(f"the run knows {', '.join(recognizer.classes)}, not {arguments.label!r}")
    source = int(arguments.source) if arguments.source.isdecimal() else arguments.source
    decisions = recognizer.stream(source, settings=StreamSettings(smooth_seconds=arguments.smooth))
    found = repetitions(decisions, arguments.label, arguments.enter, arguments.leave)
    for number, seconds in enumerate(found, start=1):
        print(f"{BELL}{number}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except HiddenTwoStreamError as error:
        sys.exit(f"count_repetitions: {error}")
    except KeyboardInterrupt:
        pass
