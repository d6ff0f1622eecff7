"""Clips of many videos as batches, read by loader processes."""
