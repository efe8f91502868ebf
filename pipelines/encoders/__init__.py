"""Texts, pairs, windows and words to ids, as TensorFlow ops."""
