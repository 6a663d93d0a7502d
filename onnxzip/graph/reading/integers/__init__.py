"""What of a graph is to compute in int8, and what does after a runtime has optimised it."""
