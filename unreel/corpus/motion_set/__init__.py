"""The synthetic motion set that `unreel synth` makes: drawn videos in files, whose classes are motions."""
