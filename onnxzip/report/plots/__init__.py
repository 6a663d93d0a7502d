"""Plots: what they show, as plain records, and the library that draws them."""
