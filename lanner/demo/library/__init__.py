"""Actions for the rules of the library."""
