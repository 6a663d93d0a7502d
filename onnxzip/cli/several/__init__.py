"""Models that are compressed: one, or several that are found in folders and told in a line each."""
