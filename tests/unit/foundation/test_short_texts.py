import tracemalloc

from foundation.text import canonical_address
from processor.compiler.operands import address_number
from processor.fields.event import directory_part, file_part


def test_long_texts_are_not_cached() -> None:
    """Results for names and addresses of a megabyte each are not retained."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            text = f"/{number}/" + "x" * 1_000_000
            for remember in (directory_part, file_part, address_number, canonical_address):
                remember(text)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_500_000


def test_short_texts_are_cached() -> None:
    """The same name returns the same object, not a new one."""
    assert file_part("/bin/some-program") is file_part("/bin/some-" + "program")
