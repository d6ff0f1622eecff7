"""From a file to its packets, and from packets to decoded pictures."""
