"""Files of any layout to documents of sentences."""
