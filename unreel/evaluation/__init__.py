"""From embeddings to numbers; every protocol is named beside its figure."""
