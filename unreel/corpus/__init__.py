"""What videos there are: finding them, lists, manifests, segments, labels and splits."""
