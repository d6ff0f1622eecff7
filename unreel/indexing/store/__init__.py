"""Embeddings on disk as a store of Parquet parts that follows its files."""
