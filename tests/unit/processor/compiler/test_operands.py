"""Values of rules, by the type of the field that they are compared with."""

import pytest

from processor.compiler.operands import BadLiteral, Net, parse_literal, parse_net, parse_port


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "INT64", 5),
        ("+5", "INT64", 5),
        ("-5", "INT64", -5),
        ("010", "INT64", 10),
        (" 5", "INT64", 5),
        ("99999999999999999999", "INT64", 2**63 - 1),
        ("-99999999999999999999", "INT64", -(2**63)),
        ("65537", "INT16", 1),
        ("32768", "INT16", -32768),
        ("2147483648", "INT32", -(2**31)),
        ("4294967297", "DOUBLE", 1),
        ("-1", "UINT32", 2**32 - 1),
        ("-1", "UINT64", 2**64 - 1),
        ("-1", "RELTIME", 2**64 - 1),
        ("-1", "MODE", 2**32 - 1),
        ("4294967296", "UINT32", 0),
        ("256", "FLAGS8", 0),
        ("18446744073709551616", "UINT64", 2**64 - 1),
        ("-18446744073709551616", "UINT64", 2**64 - 1),
        ("18446744073709551616", "UINT32", 2**32 - 1),
        ("22", "PORT", 22),
        ("65558", "PORT", 22),
        ("ssh", "PORT", 22),
        ("", "PORT", 0),
        ("0:0:0:0:0:0:0:1", "IPADDR", "::1"),
        ("true", "BOOL", True),
        ("a\0b", "BYTEBUF", "a\0b"),
    ],
)
def test_a_value_that_fits(text: str, kind: str, value: object) -> None:
    """Numbers are read as scanf reads them: they wrap around at the width of their type."""
    assert parse_literal(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(
            (text, "INT64")
            for text in ("", "0x10", "0XA", "0b1", "1_000", "1.0", "1e3", "5 ", "--5", "+ 5", "٣", "five")
        ),
        *((text, "UINT32") for text in ("0x10", "-0x1", "1.5")),
        *((text, "PORT") for text in ("+22", "-1", "0x16", "no-such-service", "2147483648")),
        *((text, "BOOL") for text in ("yes", "True", "1")),
        *((text, "IPADDR") for text in ("10.0.0", "10.0.0.256", "::ffff:10.0.0.1", "010.0.0.1", "fd00::/8", "")),
        *(
            (text, "IPNET")
            for text in ("10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "::/0", "::1/129", "::ffff:10.0.0.1/96")
        ),
        *(("a\0b", kind) for kind in ("CHARBUF", "FSPATH", "PORT", "IPADDR", "INT64")),
        ("9", "SIGTYPE"),
        ("x" * 256, "CHARBUF"),
    ],
)
def test_a_value_that_does_not_fit(text: str, kind: str) -> None:
    """Hexadecimal numbers, fractions and digits of other scripts are not numbers."""
    with pytest.raises(BadLiteral):
        parse_literal(text, kind)


@pytest.mark.parametrize(
    ("text", "net"),
    [
        ("10.1.2.3/8", Net(32, 10 << 24, 255 << 24)),
        ("10.0.0.0/0", Net(32, 0, 0)),
        ("10.0.0.0/264", Net(32, 10 << 24, 255 << 24)),
        ("fd00::1/8", Net(128, 0xFD << 120, 0xFF << 120)),
    ],
)
def test_a_network(text: str, net: Net) -> None:
    """Host bits are dropped, and the length wraps around at eight bits."""
    assert parse_net(text) == net


def test_a_port_by_an_unknown_name() -> None:
    """The message has the name."""
    with pytest.raises(BadLiteral, match="'nonsense' is neither a port nor a known service"):
        parse_port("nonsense")
