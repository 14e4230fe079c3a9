"""Training of the bundled backbone: `python -m models.training --tiles DIR --out DIR`."""
