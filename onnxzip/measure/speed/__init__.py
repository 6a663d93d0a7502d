"""What models take of a user's time: whole ones beside their original, and their nodes."""
