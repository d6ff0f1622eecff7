"""Where the bytes of a video come from: a file, or a piece of a packed corpus; one `open_source` for both."""
