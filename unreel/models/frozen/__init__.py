"""Frozen models from elsewhere: image and video models whose features stand beside those of an encoder."""
