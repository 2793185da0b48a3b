"""`hts push`."""

from __future__ import annotations

import argparse

from hidden_two_stream.cli.options import Parser, path, path_text, show
from hidden_two_stream.errors import UsageError

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "share a run on the Hugging Face Hub: weights, scores and a model card, without private names"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `hts push`."""
    parser.add_argument("run", type=path_text, metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument("name", metavar="USER/NAME", help="name of the model on the hub")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--public", action="store_true", help="a new model can be seen by everyone")
    seen.add_argument(
        "--private", action="store_true", help="only its owner can see it (default for a new model)"
    )
    parser.add_argument(
        "--license",
        metavar="ID",
        help="license of the model, by the hub's identifier: apache-2.0, cc-by-4.0, … (default: none given)",
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the model card (default: NAME)")
    parser.add_argument(
        "--data-name",
        metavar="TEXT",
        help="what the card calls the training data (default: the name of a benchmark, or no name)",
    )
    parser.add_argument(
        "--picture",
        type=path_text,
        metavar="VIDEO",
        help="show the middle frame of this video and its flow on the card (default: a generated scene)",
    )
    parser.add_argument("--keep-card", action="store_true", help="leave the model card on the hub as it is")
    parser.add_argument(
        "--dry-run", type=path, metavar="FOLDER", help="write the files into FOLDER, and push nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from hidden_two_stream.sharing.push import CardOptions, push

    options = CardOptions(arguments.title, arguments.license, arguments.data_name, arguments.picture)
    if arguments.keep_card and options != CardOptions():
        raise UsageError("--keep-card keeps the card: leave out --title, --license, --data-name, --picture")
    if arguments.keep_card and arguments.dry_run is not None:
        raise UsageError("--dry-run shows the new card; leave out --keep-card")
    pushed = push(
        arguments.run,
        arguments.name,
        private=True if arguments.private else False if arguments.public else None,
        options=options,
        keep_card=arguments.keep_card,
        dry_run=arguments.dry_run,
    )
    show(arguments, pushed.to_dict(), str(pushed))
    return 0
