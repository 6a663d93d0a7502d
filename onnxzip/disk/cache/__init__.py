"""What was measured and made before, by the content of all that it follows from: --cache."""
