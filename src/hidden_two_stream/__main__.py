"""`hts`, and `python -m hidden_two_stream`, which is the same."""

import os
import sys
from contextlib import suppress

__all__ = ["run"]


def run() -> int:
    """Run the command of this process; Ctrl-C ends it in one line even while its modules are loaded."""
    _fill_closed_streams()
    try:
        from hidden_two_stream.environment import collector_paused

        with collector_paused():
            from hidden_two_stream.cli.main import main

        return main()
    except KeyboardInterrupt:  # main deals with those that come later
        if sys.stderr is not None:
            with suppress(OSError):
                print("hts: interrupted", file=sys.stderr)
        return 130


def _fill_closed_streams() -> None:
    """Open the null device in place of closed stdin, stdout or stderr.

    Otherwise the next file that is opened would take the place, and what a library prints would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number


if __name__ == "__main__":
    sys.exit(run())
