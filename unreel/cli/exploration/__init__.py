"""`unreel explore`."""
