"""Element types of weights."""
