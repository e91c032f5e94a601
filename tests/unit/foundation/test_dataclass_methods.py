import copy
import dataclasses
import pickle
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from foundation.dataclass_methods import make_methods_late

_CLASSES = """
from dataclasses import dataclass, field

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    names: tuple = field(default=(), repr=False, compare=False)

@dataclass(frozen=True, slots=True)
class Deep(Point):
    z: list = field(default_factory=list)

@dataclass(order=True)
class Open:
    value: object
    other: int = field(default=3, kw_only=True)
    double: int = field(init=False)

    def __post_init__(self):
        self.double = 2 * self.other

@dataclass(frozen=True)
class Plain:
    name: str

class Own(Plain):
    pass

def wrapped(cls):
    compute = cls.__hash__
    cls.__hash__ = lambda self: compute(self)
    return cls

@wrapped
@dataclass(frozen=True)
class Wrapped:
    name: str
"""


@pytest.fixture
def modules() -> Iterator[list[Any]]:
    """Return the same classes twice: as `dataclasses` makes them, and with late methods."""
    before = dict(vars(dataclasses))
    found = []
    try:
        make_methods_late({"late_classes"})
        for name in ("plain_classes", "late_classes"):
            module = sys.modules[name] = ModuleType(name)
            exec(_CLASSES, vars(module))  # noqa: S102
            found.append(module)
        yield found
    finally:
        vars(dataclasses).update(before)
        for each in found:
            del sys.modules[each.__name__]


def _outcome(text: str, module: ModuleType) -> object:
    try:
        return eval(text, {**vars(module), "copy": copy, "pickle": pickle, "replace": dataclasses.replace})  # noqa: S307
    except (AttributeError, TypeError) as error:
        return type(error), str(error)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="this Python makes them in another way, which stays")
def test_classes_do_the_same_with_late_methods(modules: list[Any]) -> None:
    """Also those that derive from others, and what they refuse."""
    plain, late = modules
    assert not isinstance(vars(late.Point)["__init__"], FunctionType)
    texts = (
        *("repr(Point(1))", "repr(Deep(1, z=[1]))", "repr(Open(1))", "repr(Own('a'))", "Point()", "Open(1, 2)"),
        *("Point(1) == Point(1, 2, ('a',))", "Point(1) == Deep(1)", "Point(1) == 3", "Deep(1, z=[]) == Deep(1)"),
        *(
            "{Point(1), Point(1, 2), Point(2)} == {Point(2), Point(1)}",
            "hash(Open(1))",
            "hash(Deep(1))",
            "hash(Wrapped('a')), hash(Wrapped('b'))",
        ),
        *("hash(Point(3)) == hash((3, 2))", "Open(1) < Open(2), Open(1) >= Open(2)", "Open(1) < 3"),
        *("setattr(Point(1), 'x', 2)", "delattr(Deep(1), 'y')", "setattr(Plain('a'), 'new', 2)"),
        *("setattr(Own('a'), 'name', 'b')", "setattr(Own('a'), 'new', 2)", "Own('a') == Own('a')"),
        *("replace(Deep(1), x=5).x", "copy.deepcopy(Deep(1, z=[2])).z", "pickle.loads(pickle.dumps(Point(7))).x"),
        *("Point.__match_args__", "Point.__init__.__qualname__", "Deep.__eq__.__qualname__", "Open(1, other=4).double"),
    )
    assert {each: _outcome(each, late) for each in texts} == {each: _outcome(each, plain) for each in texts}
    assert isinstance(vars(late.Point)["__init__"], FunctionType)


def test_a_value_that_contains_itself_is_shown(modules: list[Any]) -> None:
    """The part that was begun is left out."""
    for module in modules:
        value = module.Open(1)
        value.value = value
        assert repr(value) == "Open(value=..., other=3, double=6)"
