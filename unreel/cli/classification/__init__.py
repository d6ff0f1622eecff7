"""`unreel classify`."""
