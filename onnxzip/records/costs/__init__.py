"""What runs of models cost, counted and measured."""
