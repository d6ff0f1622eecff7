"""Frames out of video files: which a file has, and the exact ones at any number or second."""
