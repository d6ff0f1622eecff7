"""One page over an index: search, previews, a map, marks, export. Nothing of it needs a network."""
