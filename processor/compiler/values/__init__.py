"""Literals, operators and transformers: the texts of a rule in, typed functions out."""
