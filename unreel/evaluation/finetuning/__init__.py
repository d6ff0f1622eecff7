"""Supervised training of an encoder with a classifier."""
