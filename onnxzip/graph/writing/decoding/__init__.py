"""What it takes to run a decoder: in which pieces, and how much memory."""
