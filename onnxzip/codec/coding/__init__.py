"""Integers to compact arrays and back; the numpy decoder is the truth."""
