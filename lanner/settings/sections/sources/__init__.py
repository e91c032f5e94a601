"""Settings of sources of events other than system calls."""
