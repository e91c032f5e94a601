"""Rule tests: takes test files beside rules, returns results; needs no kernel, privileges or broker.

An event states causes, and the collector's own code derives the rest, so that a test sees what a live rule would see.
"""
