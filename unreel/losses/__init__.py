"""Losses as pure functions of tensors, and what they compare with: memory bank, queue of keys, negative mask."""
