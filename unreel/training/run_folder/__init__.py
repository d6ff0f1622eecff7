"""What a run keeps on disk: configuration, checkpoints, quarantine."""
