"""Reads YAML files into trees. They are untrusted: their size, depth and alias expansion are bounded."""

from foundation.yaml.nodes import Limits, Node, OverLimits, SourceFile, SourceLocation, YamlError

RULES = Limits(characters=8_000_000, nodes=500_000, depth=64)
"""For rule files and their tests."""


def read_documents(file: SourceFile, limits: Limits = RULES, *, is_precise: bool = False) -> list[Node]:
    """Read all documents of a file.

    Args:
        file: the file.
        limits: how much it may contain.
        is_precise: whether to parse by the slower of PyYAML's loaders, whose messages are more precise.

    Raises:
        OverLimits: the text exceeds the limits.
        YamlError: the text is not YAML.
    """
    size = len(file.text)
    if size > limits.characters:
        message = f"the file has {size:,} characters, more than the limit of {limits.characters:,}"
        raise OverLimits(message, SourceLocation(file.name))
    try:
        file.text.encode()
    except UnicodeEncodeError as error:
        message = "the file is not UTF-8: it contains half of a surrogate pair or a stray byte"
        raise YamlError(message, file.locate(error.start, error.start + 1)) from None
    # Imported here, because PyYAML takes 2 MB, and a program whose rules are stored reads no YAML.
    from foundation.yaml.composing import compose  # noqa: PLC0415

    return compose(file, limits, is_precise=is_precise)
