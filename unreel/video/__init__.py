"""Files in, uint8 frames out: probing and decoding, clip-time arithmetic, manifests, the data order, synthetic videos."""
