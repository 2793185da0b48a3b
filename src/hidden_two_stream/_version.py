"""The package's version: written here once, read by the build, by `hts --version` and by checkpoints."""

__version__ = "0.1.0"
