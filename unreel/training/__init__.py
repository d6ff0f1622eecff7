"""The loop, its checkpoints and its label-free monitors."""
