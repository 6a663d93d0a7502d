"""What is done to decode nodes before they are written."""
