"""Networks of our own for processors."""
