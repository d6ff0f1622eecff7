"""Evaluations of an encoder on labelled videos, and comparisons of them."""
