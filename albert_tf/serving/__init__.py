"""An HTTP server for any SavedModel; it knows nothing of ALBERT."""
