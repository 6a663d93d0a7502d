"""What is measured on a model: losses, the second moments of inputs, what other weights do."""
