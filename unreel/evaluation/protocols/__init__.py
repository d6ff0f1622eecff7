"""One file, one evaluation protocol."""
