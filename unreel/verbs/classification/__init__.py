"""Training and applying classifiers."""
