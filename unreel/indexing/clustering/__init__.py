"""Clusters of an index, its 2D projection, outliers and near-duplicates."""
