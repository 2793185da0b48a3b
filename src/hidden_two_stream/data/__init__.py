"""Data to learn from: the dataset index, splits, the clip cache, and the training set."""
