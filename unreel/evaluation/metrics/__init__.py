"""Figures from arrays: rankings, average precision, bootstrap intervals."""
