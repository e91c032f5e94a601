from foundation.text import count_of


def test_numbers_agree_with_their_nouns() -> None:
    """One rule, two rules, no rules."""
    assert [count_of(number, "rule") for number in (0, 1, 2, 1234)] == ["0 rules", "1 rule", "2 rules", "1,234 rules"]
    assert count_of(2, "batch", "batches") == "2 batches"
