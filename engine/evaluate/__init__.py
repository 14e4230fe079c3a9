"""Measuring: how far matches and geometry are from the truth, beside OpenCV and the earlier tool's procedure."""
