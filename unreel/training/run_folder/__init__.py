"""The files of a run: configuration, checkpoints, logs, quarantine list."""
