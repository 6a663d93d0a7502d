"""What a run or a decoder takes, worked out from shapes before it runs."""
