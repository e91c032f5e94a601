"""Settings of what Lanner serves over HTTP: the intake and the console."""
