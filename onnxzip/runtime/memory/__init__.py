"""What a run holds of memory, and what ends it where that is more than it may."""
