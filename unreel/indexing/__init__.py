"""Embeddings as Parquet, the index over them, hits, clusters and concepts."""
