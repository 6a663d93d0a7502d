"""Who works on the weights, with what, and what earlier runs have kept of it."""
