"""Files and processes: atomic writes, locks, checksums, retries, worker pools. Nothing here knows about video."""
