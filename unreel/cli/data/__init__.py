"""Commands on videos and data sets."""
