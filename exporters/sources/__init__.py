"""Where a backbone's weights and its source model come from: our own definition, a hub clone, or Hugging Face."""
