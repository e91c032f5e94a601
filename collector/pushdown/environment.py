"""What of a process's environment leaves this host: the variables that rules name, for the others may be secrets."""

from schemas.filter import EVERY_VARIABLE


def named(environment: tuple[str, ...], names: frozenset[str]) -> tuple[str, ...]:
    """Keep the variables of some names.

    Args:
        environment: NAME=value each.
        names: what is asked for; EVERY_VARIABLE among them for all.
    """
    if EVERY_VARIABLE in names:
        return environment
    return tuple(entry for entry in environment if entry.partition("=")[0] in names)
