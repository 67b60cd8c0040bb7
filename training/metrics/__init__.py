"""Metrics of single systems, the same for a checkpoint, an ONNX file, a server and a baseline."""
