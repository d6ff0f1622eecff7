"""Training: the job, the loop, its metrics and monitors."""
