"""Prediction over many files and machines: what is done is kept, and a restart goes on from there."""
