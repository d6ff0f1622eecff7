"""The encoder: a backbone with everything needed to use it on clips."""
