"""Models out of packages with the inputs that they get in use: tests.bench.unseen judges by them."""
