"""Unsupervised losses for MotionNet."""
