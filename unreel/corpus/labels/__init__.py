"""Labelled data sets: annotation files, official splits, boxes, and whether the lists fit the disk."""
