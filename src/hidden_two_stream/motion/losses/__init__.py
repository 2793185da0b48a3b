"""Unsupervised losses for MotionNet: the paper's, and later ideas."""
