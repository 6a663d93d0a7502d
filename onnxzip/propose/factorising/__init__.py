"""Lets chains of thinner nodes stand for nodes that take longer and answer nearly the same."""
