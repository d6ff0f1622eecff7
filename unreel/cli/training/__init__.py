"""Commands that train, and that describe training."""
