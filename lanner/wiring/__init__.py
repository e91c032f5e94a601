"""Composition: takes settings, returns stages connected to their clients."""
