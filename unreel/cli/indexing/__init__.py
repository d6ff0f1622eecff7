"""Commands that embed, index and search footage."""
