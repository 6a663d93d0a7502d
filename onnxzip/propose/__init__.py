"""Passes -> candidates: what may be done to each weight of a model."""
