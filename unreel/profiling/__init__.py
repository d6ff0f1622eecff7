"""Measures where the time of training goes, and compares two configurations."""
