"""What was found, as records, and how it is shown: on a terminal, in notebooks, in files."""
