"""Where the time of a training step goes, on this machine and this data; what to change; two settings side by side."""
