"""Does an encoder beat what needs no training? The same decision with labels and without."""
