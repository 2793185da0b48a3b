"""The `hts` command line, also as a function: `main(["check", "videos/"])`. One file per command."""

from hidden_two_stream.cli.main import main

__all__ = ["main"]
