"""Explanations of why a rule did or didn't match an event: the answer, its reasons, and the condition as a tree."""
