"""Tests beside rules: given events, expected alerts; no kernel, no rights and no broker needed.

An event states causes, and the collector's own code derives the rest, so that a test sees what a live rule would see.
"""
