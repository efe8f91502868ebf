"""Weights on disk, whoever wrote them, and the model directory."""
