"""Finished pretraining data: what it holds, what is damaged in it, and the same in other files."""
