"""Literals, operators and transformers: texts of a rule in, typed functions out."""
