"""Nodes that become chains of thinner ones, in their model and, to be timed, alone."""
