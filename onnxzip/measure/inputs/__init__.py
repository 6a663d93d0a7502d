"""What models are fed when they are measured: the user's data, or inputs of our own."""
