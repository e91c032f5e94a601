"""The printer of conditions: its text parses back to the same tree, in the format that Falco prints."""

from functools import partial

from processor.language import tokens
from processor.language.ast import (
    Ancestor,
    And,
    ArgumentList,
    Check,
    Field,
    FieldValue,
    Literal,
    Macro,
    MacroRef,
    Node,
    Not,
    Right,
    Transformer,
    ValueList,
)

_NAMED_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"'}


def print_condition(node: Node, *, expand_macros: bool = True) -> str:
    """Return a condition as text on one line, with the bodies of macros instead of their names if `expand_macros`."""
    if isinstance(node, Check):
        return _check(node)
    if isinstance(node, MacroRef):
        return _name(node.name)
    if isinstance(node, Macro):
        return print_condition(node.body) if expand_macros else _name(node.name)
    if isinstance(node, Not):
        child = print_condition(node.child, expand_macros=expand_macros)
        # Two "not" in a row would cancel out when parsed.
        return f"not ({child})" if child.startswith("not ") else f"not {child}"
    if isinstance(node, Ancestor):
        child = print_condition(node.condition, expand_macros=expand_macros)
        return f"{tokens.ANCESTOR}{child}" if child.startswith("(") else f"{tokens.ANCESTOR}({child})"
    children = map(partial(print_condition, expand_macros=expand_macros), node.children)
    return f"({(' and ' if isinstance(node, And) else ' or ').join(children)})"


def print_operand(operand: Field | Transformer) -> str:
    """Return the left side of a check as text."""
    if isinstance(operand, Field):
        return operand.name + _index(operand.argument)
    arguments = ", ".join(_argument(argument) for argument in operand.arguments)
    return f"{operand.name}({arguments}){_index(operand.argument)}"


def quote(text: str) -> str:
    """Return a text in double quotes, with the escapes that conditions support; all of it can be seen."""
    parts = []
    for index, character in enumerate(text):
        if character == "\\":
            # Before a quote, even a doubled backslash would keep the string open.
            parts.append("\\x5c" if text[index + 1 : index + 2] in ("", '"', "'") else "\\\\")
        elif character in _NAMED_ESCAPES:
            parts.append(_NAMED_ESCAPES[character])
        elif character.isprintable() or "\ud800" <= character < "\udc80" or "\udcff" < character <= "\udfff":
            # Half of a pair is no byte.
            parts.append(character)
        else:
            parts += (f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return f'"{"".join(parts)}"'


def print_value(text: str) -> str:
    """Return a value as bare text if that parses back to the same value, else quoted."""
    if tokens.BARE_STRING.fullmatch(text) and text.isprintable():
        return text
    return quote(text)


def _name(name: str) -> str:
    # In parentheses, "not" is a macro's name; followed by a blank, it would be the operator.
    return f"({name})" if name == "not" else name


def _index(argument: str | None) -> str:
    if argument is None:
        return ""
    if tokens.BARE_ARGUMENT.fullmatch(argument) and argument.isprintable():
        return f"[{argument}]"
    return f"[{quote(argument)}]"


def _argument(argument: Field | Transformer | Literal | ArgumentList) -> str:
    if isinstance(argument, ArgumentList):
        return f"({', '.join(_argument(item) for item in argument.items)})"
    if isinstance(argument, Literal):
        is_number = tokens.HEX_NUMBER.fullmatch(argument.text) or tokens.NUMBER.fullmatch(argument.text)
        return argument.text if is_number and not argument.quoted else quote(argument.text)
    return print_operand(argument)


def _check(check: Check) -> str:
    parts = [print_operand(check.left), check.operator]
    if check.modifier is not None:
        parts.append(check.modifier)
    if check.right is not None:
        parts.append(_right(check.right))
    return " ".join(parts)


def _right(right: Right) -> str:
    if isinstance(right, ValueList):
        return f"({', '.join(print_value(item.text) for item in right.items)})"
    if isinstance(right, Literal):
        return print_value(right.text)
    if isinstance(right, FieldValue):
        return f"val({print_operand(right.field)}){_index(right.argument)}"
    return print_operand(right)
