"""What the command line asks of signatures and seals: their options, and passwords of keys."""
