"""Numbers with their nouns, for messages to people."""


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 rule`` or ``1,234 rules``.

    Args:
        number: how many.
        noun: the singular.
        plural: the plural, if it does not end in s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
