"""One module per command: what it does, apart from how its arguments are parsed (`cli`)."""

PLAN_FILE = "plan.json"
"""In the folder of a run, or of several: what was set out to do, so that it can be gone on with."""
