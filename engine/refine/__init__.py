"""Refinement of a verified pair below a patch: soft arg-max, dense matching of the aligned overlap, local features."""
