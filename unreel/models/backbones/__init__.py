"""One file per backbone; a file that defines `build(**options)` is found by its name."""
