"""Selects the environment variables that leave this host: only those named by rules, as others may be secrets."""

from schemas.filter import EVERY_VARIABLE


def named(environment: tuple[str, ...], names: frozenset[str]) -> tuple[str, ...]:
    """Return the variables with the given names.

    Args:
        environment: entries of the form NAME=value.
        names: requested names; EVERY_VARIABLE selects all.
    """
    if EVERY_VARIABLE in names:
        return environment
    return tuple(entry for entry in environment if entry.partition("=")[0] in names)
