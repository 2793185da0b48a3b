"""Pixels in: reading videos and choosing which of their frames make a clip."""
