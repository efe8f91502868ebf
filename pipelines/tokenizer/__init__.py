"""Text to ids and back, one engine everywhere."""
