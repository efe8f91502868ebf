"""What each task reads, encodes, predicts and scores."""
