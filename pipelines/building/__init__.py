"""One resumable build of examples, on many cores."""
