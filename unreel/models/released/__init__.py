"""Weights that others have released: read without running code, recognised by their names, put into our networks."""
