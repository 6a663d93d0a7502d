"""Integers to the compact arrays that a decode graph reads; tests hold it to a numpy decoder."""
