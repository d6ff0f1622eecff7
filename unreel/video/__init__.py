"""Files in, uint8 frames out: decoding, clip-time arithmetic, manifests, the data order, synthetic videos."""
