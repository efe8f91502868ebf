"""Other people's checkpoints in, and Google's form out."""
