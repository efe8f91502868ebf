"""A model in this process: texts in, answers out."""
