"""Names and patterns to files, and files of any compression and encoding to lines or records."""
