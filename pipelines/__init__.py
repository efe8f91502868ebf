"""Text to tf.data batches; knows no model and imports no Keras."""
