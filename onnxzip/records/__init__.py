"""What stages hand to each other: frozen dataclasses that import nothing but numpy."""
