"""Makes methods of dataclasses without compiling code for each class.

`dataclasses` writes and compiles six functions for a frozen class. Three of them are never called where speed matters:
two refuse assignments, and one is for people. As closures, they do the same; without compiling them, the 400 classes of
a start are made in 0.8 of the processor time, with 0.7 MiB less memory.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

_NAMES = ("_repr_fn", "_frozen_get_del_attr")
"""What makes the three in Python 3.11 and 3.12; later versions compile all functions of a class together."""


def share_dataclass_methods() -> None:
    """Do so for classes that are made from now on; do nothing in a version of Python that makes them otherwise."""
    if sys.version_info < (3, 13) and all(hasattr(dataclasses, name) for name in _NAMES):
        vars(dataclasses).update(zip(_NAMES, (_repr_of, _refusing), strict=True))


def _repr_of(fields: Sequence["dataclasses.Field[Any]"], _globals: object) -> Callable[[Any], str]:
    names = [field.name for field in fields]

    def __repr__(self: Any) -> str:  # noqa: N807
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({values})"

    # It ends where a value contains itself.
    wrapped: Callable[[Any], str] = vars(dataclasses)["_recursive_repr"](__repr__)
    return wrapped


def _refusing(
    cls: type[Any], fields: Sequence["dataclasses.Field[Any]"], _globals: object
) -> tuple[Callable[[Any, str, object], None], Callable[[Any, str], None]]:
    names = frozenset(field.name for field in fields)

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __setattr__, __delattr__
