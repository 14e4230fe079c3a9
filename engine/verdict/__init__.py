"""Whether two photographs show the same place: evidence of the geometry found, and a probability calibrated on it."""
