"""Makes the methods of dataclasses when they are first called.

`dataclasses` compiles a text for each method of each class when the class is defined. For the 350 classes that `lanner
run` imports, this took 0.15 s of its start and 2.4 MiB, and most of these methods are never called.
"""

import dataclasses
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import FrozenInstanceError
from functools import partial
from inspect import Parameter, Signature
from typing import Any

_Method = Callable[..., Any]


def make_methods_late(packages: Collection[str]) -> None:
    """Make the methods of dataclasses that are defined from now on in these packages at their first call.

    They do the same, except that what inspects them before, such as inspect.signature(), sees no parameters. Call this
    once, before the packages are imported. It replaces functions of `dataclasses` that aren't public, and does nothing
    where Python has others, as from 3.13 on. Source: dataclasses.py of Python 3.11 and 3.12.
    """
    own = vars(dataclasses)
    names = ("_init_fn", "_repr_fn", "_cmp_fn", "_hash_fn", "_frozen_get_del_attr", "_create_fn")
    if not own.keys() >= set(names):
        return
    init, representation, comparison, digest, frozen, _ = (own[name] for name in names)

    def are_late(variables: Mapping[str, Any]) -> bool:
        return str(variables.get("__name__")).partition(".")[0] in packages

    def late_init(*given: Any) -> Any:
        *_, variables, _ = given
        return _Late("__init__", init, given) if are_late(variables) else init(*given)

    def late_comparison(name: str, *given: Any, globals: dict[str, Any]) -> Any:  # noqa: A002  its name there
        every = (name, *given, globals)
        return _Late(name, comparison, every) if are_late(globals) else comparison(*every)

    def late_digest(fields: Any, variables: dict[str, Any]) -> Any:
        return _Late("__hash__", digest, (fields, variables)) if are_late(variables) else digest(fields, variables)

    own.update(
        _init_fn=late_init,
        _cmp_fn=late_comparison,
        _hash_fn=late_digest,
        _repr_fn=lambda fields, variables: __repr__ if are_late(variables) else representation(fields, variables),
        _frozen_get_del_attr=lambda owner, fields, variables: (
            (__setattr__, __delattr__) if are_late(variables) else frozen(owner, fields, variables)
        ),
    )


class _Late:
    """A method that is made when it is first called, and then takes the place of this in its class.

    It is an object, since a function with what it refers to takes several times as much memory.
    """

    __slots__ = ("_given", "_made", "_make", "_name")
    __signature__ = Signature([Parameter("self", Parameter.POSITIONAL_ONLY)])
    """For the docstrings that `dataclasses` writes."""

    def __init__(self, name: str, make: Callable[..., _Method], given: tuple[Any, ...]) -> None:
        self._name, self._make, self._given = name, make, given
        self._made: _Method | None = None

    def __get__(self, value: Any, owner: type) -> _Method:
        return self if value is None else partial(self, value)

    def __call__(self, value: Any, /, *values: Any, **named: Any) -> Any:
        if self._made is None:
            made = self._made = self._make(*self._given)
            # Looked for only now, since `slots=True` makes a class again. None if a decorator has wrapped this method.
            if (owner := _owner(type(value), self._name, self)) is not None:
                made.__qualname__ = f"{owner.__qualname__}.{self._name}"
                setattr(owner, self._name, made)
        return self._made(value, *values, **named)


def _owner(kind: type, name: str, method: object) -> type | None:
    """Return the class that a class has a method from."""
    return next((each for each in kind.__mro__ if each.__dict__.get(name) is method), None)


# The classes share these, as they are called for messages and errors alone.


@reprlib.recursive_repr()
def __repr__(self: Any) -> str:  # noqa: N807
    owner = _owner(type(self), "__repr__", __repr__) or type(self)
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(owner) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807
    if _is_frozen(self, name, _owner(type(self), "__setattr__", __setattr__)):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def __delattr__(self: Any, name: str) -> None:  # noqa: N807
    if _is_frozen(self, name, _owner(type(self), "__delattr__", __delattr__)):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


def _is_frozen(value: object, name: str, owner: Any) -> bool:
    return owner is None or type(value) is owner or any(each.name == name for each in dataclasses.fields(owner))
