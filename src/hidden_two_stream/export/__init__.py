"""Trained recognizers for other runtimes: ONNX files and PyTorch's exported programs."""
