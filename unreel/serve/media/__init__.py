"""Pictures and video pieces for the page, read in worker processes."""
