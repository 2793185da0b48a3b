"""The scripts of the documentation, which lie beside the pages, and the files that its commands name."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "docs" / "scripts")]
