"""Backbones compared: images and pairs a second of each, beside references in the same run."""
