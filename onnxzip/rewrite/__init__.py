"""Plan -> graph: structural passes, small tensors, the decoders of the chosen candidates."""
