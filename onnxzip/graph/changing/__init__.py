"""Changes models in memory: hoists, renames, removes and cuts, and edits for structural passes."""
