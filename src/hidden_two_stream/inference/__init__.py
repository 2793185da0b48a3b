"""Using what was learned: prediction, and the report that a person reads."""
