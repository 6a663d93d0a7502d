"""Inputs that are made up where the user gives none: sizes, values, and what a model accepts of them."""
