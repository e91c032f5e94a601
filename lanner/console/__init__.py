"""`lanner console`: the alerts of a fleet or host on pages in a browser, in groups, with what people decided."""
