"""Commands that measure an encoder."""
