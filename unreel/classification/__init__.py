"""Classifiers to keep: trained on labels or marks, calibrated on held-out groups, applied to folders."""
