"""What layers meet: second moments of their inputs, and the errors that count by them."""
