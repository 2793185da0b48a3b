"""Weights that others published, read from their own file formats."""
