"""What weights do to the outputs, one by one and as planned, and what is kept of it."""
