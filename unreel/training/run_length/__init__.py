"""How long a run is where a person has named minutes, or nothing: measured, planned, fixed once, and told."""
