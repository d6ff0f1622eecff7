"""Approximate search: inverted files in memory and on disk, and the file that holds one."""
