"""Terminal output: takes values, prints safe lines."""
