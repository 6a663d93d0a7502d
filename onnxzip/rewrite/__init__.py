"""Plan -> graph."""
