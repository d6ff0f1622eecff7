"""An index written for other programs: files, labelling tools, vector databases."""
