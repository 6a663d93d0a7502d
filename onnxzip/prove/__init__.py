"""Graph -> checks: the compressed model against the original, exact and in the metric."""
