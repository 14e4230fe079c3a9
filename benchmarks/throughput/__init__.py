"""Throughput: photographs and pairs a second beside references in the same run (`python -m benchmarks.throughput`)."""
