"""The `hts` command line: one file per command."""
