"""The rules of a pretraining example, its form on disk and its tf.data."""
