"""The verbs of embedding, indexing and search, one function a file."""
