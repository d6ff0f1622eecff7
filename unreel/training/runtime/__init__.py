"""Where and in how many processes a run trains."""
