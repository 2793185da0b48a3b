"""Reads and writes video, and chooses and transforms the frames of clips."""
