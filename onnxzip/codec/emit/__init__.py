"""Emits decode subgraphs: what rebuilds, from the bytes in the file, the numbers a codec made."""
