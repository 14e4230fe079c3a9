"""Scripts that keep the documents current: `python -m docs.options` and `python -m docs.pictures`."""
