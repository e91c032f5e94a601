"""Forms of values that a type alone can't express: a value in, what is wrong with it out."""
