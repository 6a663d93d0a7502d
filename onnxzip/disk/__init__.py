"""Files that others change as well: read once, into copies of our own; written whole or not at all."""
