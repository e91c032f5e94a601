"""Composition: settings in, stages joined to their clients out."""
