"""Training: the stages, one optimization loop for all of them, and run folders."""
