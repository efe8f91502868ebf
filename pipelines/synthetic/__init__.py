"""Labelled data made of text alone, for a model to learn from before it sees that of a task."""
