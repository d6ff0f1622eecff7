"""Packing: a corpus rewritten once into small pieces that are cheap to train from."""
