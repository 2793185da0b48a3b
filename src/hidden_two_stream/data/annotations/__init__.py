"""Labels over time, in the files of other tools: reading, writing, and one row per frame."""
