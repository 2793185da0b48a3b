"""One module per command: what it does, apart from how its arguments are parsed (`cli`)."""
