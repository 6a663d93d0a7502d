"""Operator sets: which a model imports, and what their schemas say by default."""
