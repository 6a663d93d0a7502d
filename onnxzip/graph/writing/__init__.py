"""Writes what passes emit into models, marks them, and writes models to files."""
