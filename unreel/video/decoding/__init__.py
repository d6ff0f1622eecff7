"""Frames out of video files; the one room that imports `av`."""
