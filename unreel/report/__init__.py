"""From results to pages that a person reads: one file each, opens anywhere, fetches nothing."""
