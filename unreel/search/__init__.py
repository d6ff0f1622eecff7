"""Embeddings as Parquet, and (to come) the index over them."""
