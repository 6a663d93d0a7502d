"""What models are fed: the user's data, or inputs that are generated for lack of it."""
