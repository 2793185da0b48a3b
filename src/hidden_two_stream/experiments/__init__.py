"""Experiments: the demo, cross-validation, the comparison with baselines, and network sizes."""
