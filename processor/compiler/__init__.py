"""The compiler: condition trees in, Python functions that evaluate events out."""
