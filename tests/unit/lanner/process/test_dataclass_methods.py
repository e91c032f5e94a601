import subprocess
import sys

import pytest

MADE = """
import sys, dataclasses
if sys.argv[1] == "shared":
    from lanner.process.dataclass_methods import share_dataclass_methods
    share_dataclass_methods()

@dataclasses.dataclass(frozen=True)
class Parent:
    first: int
    hidden: str = dataclasses.field(default="x", repr=False)
    @dataclasses.dataclass(frozen=True, slots=True)
    class Inner:
        parts: list

class Child(Parent):
    pass

@dataclasses.dataclass(frozen=True)
class Empty:
    pass

def tried(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__, str(error)

inner = Parent.Inner([])
inner.parts.append(inner)
child = Child(1)
child.own = 2
print(repr(Parent(1)), repr(inner), repr(child), repr(Empty()), child.own)
for value in (Parent(1), child, inner, Empty()):
    for name in ("first", "parts", "other"):
        print(tried(lambda: setattr(value, name, 1)), tried(lambda: delattr(value, name)))
print(Parent(1) == Parent(1), hash(Parent(1)) == hash(Parent(1)), dataclasses.replace(Parent(1), first=2))
"""


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="this Python makes them otherwise")
def test_classes_behave_as_those_whose_methods_are_compiled() -> None:
    """Their texts, errors and what their subclasses may do are the same."""
    own, shared = (
        subprocess.run([sys.executable, "-c", MADE, how], capture_output=True, text=True, check=True, timeout=30).stdout
        for how in ("own", "shared")
    )

    assert own.count("\n") == 14
    assert shared == own
