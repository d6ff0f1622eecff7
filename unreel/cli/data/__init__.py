"""Commands on videos and data sets: inspect, pack, check, synth."""
