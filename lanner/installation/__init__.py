"""How this copy of Lanner was installed: the name of a library in, the command that adds it out."""
