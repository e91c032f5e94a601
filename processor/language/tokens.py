"""The tokens of conditions: operators, transformers, and patterns for names, numbers and strings."""

import re

UNARY_OPERATORS = ("exists",)
NUMBER_OPERATORS = ("<=", "<", ">=", ">")
SYMBOL_OPERATORS = ("==", "=", "!=")
WORD_OPERATORS = (
    "glob",
    "iglob",
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "bstartswith",
    "endswith",
    "regex",
)
LIST_OPERATORS = ("intersects", "in", "pmatch")
STRING_OPERATORS = SYMBOL_OPERATORS + WORD_OPERATORS
OPERATORS = UNARY_OPERATORS + NUMBER_OPERATORS + STRING_OPERATORS + LIST_OPERATORS
MODIFIERS = ("oneof", "anyof", "allof")
TRANSFORMERS = ("tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt")
FIELD_VALUE = "val"

BLANKS = " \t\b\r\n"
_SPACE = r" \t\n\v\f\r"

BLANK = re.compile(rf"[{BLANKS}]+")
# Possessive quantifiers prevent backtracking: a text of a million characters is read once.
IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*+")
FIELD_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*+(?:\.[a-zA-Z][a-zA-Z0-9_]*+)+")
BARE_ARGUMENT = re.compile(rf"""[^\[\]"'\0{_SPACE}]+""")
HEX_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+")
NUMBER = re.compile(r"[+-]?[0-9]++\.?[0-9]*+(?:[eE][+-][0-9]++)?")
BARE_STRING = re.compile(rf"""[^()"'=,\0{_SPACE}]+""")
NOT = re.compile(rf"not[{_SPACE}]+")
TRANSFORMER = re.compile(rf"({'|'.join(TRANSFORMERS)})\(")
OPERATOR = re.compile(
    rf"(?P<number><=|<|>=|>)|(?P<string>==|=|!=|(?:{'|'.join(WORD_OPERATORS)})(?=[{BLANKS}]))|(?P<list>intersects|in|pmatch)"
)
MODIFIER = re.compile(rf"({'|'.join(MODIFIERS)})[{BLANKS}]+(?=\(|(?!(?:and|or)(?![a-zA-Z0-9_]))[a-zA-Z])")
"""It is a modifier only before a list or a list's name; otherwise it is a plain value."""

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "/": "/"}
# A backslash before a blank stays and the blank is dropped: old rules rely on this.
_ESCAPES[" "] = "\\"
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def unescape(body: str, quote: str) -> str:
    r"""Return a string's content without escapes; \xHH is a byte, so several can form one character.

    Args:
        body: the text between the quotes.
        quote: the quote around it, ' or ".

    Raises:
        ValueError: an escape is not supported; the message is for the user.

    Source: libsinsp filter/escaping.cpp.
    """
    if "\\" not in body:
        return body
    parts: list[str] = []
    has_bytes = False
    index = 0
    while index < len(body):
        character = body[index]
        if character != "\\":
            parts.append(character)
            index += 1
            continue
        escape = body[index + 1] if index + 1 < len(body) else ""
        index += 2
        if escape == "x":
            digits = body[index : index + 2]
            if len(digits) != 2 or not _HEX_DIGITS.issuperset(digits):
                raise ValueError("unsupported string escape sequence: \\x")
            value = int(digits, 16)
            parts.append(chr(value) if value < 0x80 else chr(0xDC00 + value))
            has_bytes = True
            index += 2
        elif escape in ("'", '"'):
            if escape != quote:
                raise ValueError(f"invalid \\{escape} escape in {quote}-quoted string")
            parts.append(escape)
        elif escape in _ESCAPES:
            parts.append(_ESCAPES[escape])
        elif escape:
            raise ValueError(f"unsupported string escape sequence: \\{escape}")
    text = "".join(parts)
    if has_bytes:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text


def closing_quote(text: str, start: int) -> int:
    """Return the index of the quote that ends the string beginning at `start`, or -1.

    A quote after a backslash never ends a string, even if the backslash is itself escaped. Existing rules
    rely on this.
    """
    quote = text[start]
    end_of_text = text.find("\0", start)
    index = text.find(quote, start + 1)
    while index != -1 and text[index - 1] == "\\":
        index = text.find(quote, index + 1)
    if end_of_text != -1 and index > end_of_text:
        return -1
    return index
