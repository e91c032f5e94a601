import pytest

from lanner.cli.options import size_mib
from lanner.errors import BadInput


def test_sizes_are_read_as_people_write_them() -> None:
    """Sizes are rounded down to MiB, at least one; 0 alone stands for none."""
    assert [size_mib(text) for text in ("256MB", "1GiB", "256mib", "1KB", "0")] == [244, 1024, 256, 1, 0]
    for text in ("256", "MB", "-1MB", "1.5GB", "1TB", "", "0MB"):
        with pytest.raises(BadInput, match="256MB"):
            size_mib(text)
