"""Metrics of single systems, the same at every station: a checkpoint, an ONNX file, a server, a baseline."""
