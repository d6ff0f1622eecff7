"""Metrics from arrays: rankings, accuracy, average precision, bootstrap intervals."""
