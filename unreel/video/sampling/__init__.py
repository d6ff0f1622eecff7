"""Which frames make a clip, and the order in which videos are visited. Arithmetic only."""
