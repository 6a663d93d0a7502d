"""Fits weights and biases again, part by part, to what the parts before them became."""
