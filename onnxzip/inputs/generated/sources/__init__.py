"""What inputs are made of: photographs, sounds and their spectrograms, ids, masks, patterns."""
