"""Concepts: a linear probe on a few marked clips, kept in the index."""
