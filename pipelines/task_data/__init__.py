"""The data of fine-tuning: rows to ids to batches."""
