"""`hts`, and `python -m hidden_two_stream`, which is the same."""

import sys

__all__ = ["run"]


def run() -> int:
    """Run the command of this process; Ctrl-C ends it in one line even while its modules are loaded."""
    try:
        from hidden_two_stream.cli.main import main

        return main()
    except KeyboardInterrupt:  # main deals with those that come later
        print("hts: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
