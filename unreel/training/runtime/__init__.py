"""Device, processes and signals of a training run."""
