"""The arguments of a system call as rules see them: text for evt.arg, Falco's number for evt.rawarg."""
