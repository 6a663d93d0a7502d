"""Records that come from files: plain values read as the types that records have."""
