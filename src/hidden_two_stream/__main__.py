"""`python -m hidden_two_stream` is `hts`."""

import sys

from hidden_two_stream.cli import main

if __name__ == "__main__":
    sys.exit(main())
