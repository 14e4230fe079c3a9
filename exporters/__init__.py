"""Checkpoint to graph: finding, checking and loading weights; writing ONNX; comparing with the source model."""
