"""Verbs that train, and that measure training."""
