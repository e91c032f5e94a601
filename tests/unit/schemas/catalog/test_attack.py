import re

from schemas.catalog.attack import REVOKED, TACTICS, TECHNIQUES, VERSION


def test_the_table_is_whole() -> None:
    """Each technique has a name, known tactics and platforms; each subtechnique's technique is there."""
    assert re.fullmatch(r"\d+\.\d+", VERSION)
    assert len(TECHNIQUES) > 600
    for number, technique in TECHNIQUES.items():
        assert re.fullmatch(r"T\d{4}(\.\d{3})?", number)
        assert technique.name
        assert technique.platforms
        assert technique.tactics
        assert set(technique.tactics) <= TACTICS.keys()
        assert not technique.parent or technique.parent in TECHNIQUES


def test_a_subtechnique_knows_its_technique() -> None:
    """A technique has none."""
    assert TECHNIQUES["T1059.004"].parent == "T1059"
    assert TECHNIQUES["T1059"].parent == ""
    assert TECHNIQUES["T1059.004"].name == "Unix Shell"
    assert TECHNIQUES["T1609"].platforms == {"Containers"}


def test_a_revoked_technique_is_replaced_at_once() -> None:
    """No replacement is itself revoked, and no revoked id is in the table."""
    assert not REVOKED.keys() & TECHNIQUES.keys()
    assert set(REVOKED.values()) <= TECHNIQUES.keys()
    assert REVOKED["T1089"] == REVOKED["T1562.001"] == "T1685"
