"""The user's data: read, cut into runs of the model, and looked at."""
