"""Reads models: tensors, weights and their layouts, names and shapes."""
