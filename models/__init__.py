"""Backbones: the catalogue (standard library only) and their PyTorch definitions.

Importing this package never imports torch; `models.vit`, `models.convnext` and `models.build` do.
"""
