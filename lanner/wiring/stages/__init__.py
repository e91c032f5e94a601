"""Build each stage from settings: one function a stage, from top to bottom."""
