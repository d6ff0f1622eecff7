"""`unreel evaluate` and `unreel compare`."""
