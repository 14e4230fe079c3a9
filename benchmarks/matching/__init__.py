"""Matching all pairs, beside other ways in the same run (`python -m benchmarks.matching`)."""
