"""Pure transforms: array in, array out."""
