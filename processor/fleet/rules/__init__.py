"""Rollout of rules: published versions in, the active version of all processors out."""
