"""Homes of an index beside its folder: LanceDB, Qdrant, PostgreSQL with pgvector; one file each."""
