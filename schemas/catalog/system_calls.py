"""The event types that open files."""

PATH_OPENERS = frozenset({"open", "openat", "openat2", "creat"})
"""Those that name the file by its path."""
FILE_OPENERS = PATH_OPENERS | {"open_by_handle_at"}
