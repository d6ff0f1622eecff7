"""Which frames make a clip, and in what order videos are visited. Arithmetic only."""
