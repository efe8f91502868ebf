"""The tables of an embedding, made to fit longer texts and another vocabulary."""
