"""What would prevent writing to a path, found without writing."""

import os
from pathlib import Path


def why_no_file(path: Path) -> str:
    """Return why this user can't write a file at a path; empty if nothing is known to prevent it."""
    if path.is_dir():
        return "is a folder"
    if path.exists():
        return "" if os.access(path, os.W_OK) else "this user can't write to it"
    return why_no_folder(path.parent)


def why_no_folder(path: Path) -> str:
    """Return why this user can't use or create a folder; empty if nothing is known to prevent it."""
    nearest = next((each for each in (path, *path.parents) if each.exists()), path)
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"this user can't create files in {nearest}"
