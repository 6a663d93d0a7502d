"""Candidates -> plan: what errors cost, what a tolerance or a size allows, weights fitted again."""
