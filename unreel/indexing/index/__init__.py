"""The nearest-neighbour index over a store."""
