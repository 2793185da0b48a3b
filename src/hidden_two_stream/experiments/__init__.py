"""Demo, cross-validation and comparison with two-stage baselines."""
