"""Rewriting a corpus once into small pieces that are cheap to train from."""
