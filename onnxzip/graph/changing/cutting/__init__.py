"""Parts of a model as models of their own, from one place of the main graph to another."""
