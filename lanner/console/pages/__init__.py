"""The pages: templates, styles, scripts, and what computes their drawings."""
