"""Clips that are drawn while a run trains: textured, jointed things in motion, before a camera that moves too."""
