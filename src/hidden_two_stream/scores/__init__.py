"""Score files: what a network said of each test video, and whose row is whose."""
