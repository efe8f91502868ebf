"""Architectures (`*.json`) and recipes (`*.flags`); data only."""
