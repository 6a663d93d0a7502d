"""Greyscale images as truncated DCT coefficients, and a network that names them."""
