"""Rule files: from their text to rules that can be compiled, with every problem as a value."""
