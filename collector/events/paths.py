"""Lexical file names: the requested path joined with its directory, without querying the file system.

This is Falco's fd.name. The kernel's own path of an opened file is stored beside it: a symlink hides only one of them.
"""

from functools import lru_cache


def absolute(directory: str | None, path: str | None) -> str | None:
    """Join and clean a path: no ``//``, ``.`` or ``..`` (libsinsp utils.cpp, concatenate_paths).

    Args:
        directory: where a relative path starts; None if unknown, which makes a relative path unknown too.
        path: as passed to the call; None if it could not be read.
    """
    if path is None:
        return None
    if not path.startswith("/"):
        if directory is None:
            return None
        return _cleaned(f"{directory}/{path}")
    if "//" not in path and "/." not in path and not (path.endswith("/") and path != "/"):
        return path
    return _cleaned(path)


# Few: each may hold two texts of 4 KiB, which whoever names files controls.
@lru_cache(maxsize=1024)
def _cleaned(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)
