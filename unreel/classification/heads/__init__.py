"""What stands on an encoder to tell classes: one file a kind."""
