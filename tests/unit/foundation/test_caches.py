from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from foundation.caches import GroupAccounts

_actions = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=80)


def test_the_account_with_the_most_gives_up_its_oldest() -> None:
    """What was touched again is no longer the oldest."""
    accounts: GroupAccounts[int] = GroupAccounts()
    for key in (1, 2, 3, 1):
        accounts.touch("loud", key)
    accounts.touch("quiet", 9)

    assert accounts.oldest_of_largest() == 2
    accounts.leave("loud", 2)
    assert accounts.oldest_of_largest() == 3


def test_of_equal_accounts_the_one_that_grew_last_gives_up_its_oldest() -> None:
    """Whoever was there before is not pushed out."""
    accounts: GroupAccounts[int] = GroupAccounts()
    accounts.touch("before", 1)
    accounts.touch("now", 2)

    assert accounts.oldest_of_largest() == 2


@given(_actions, st.data())
def test_it_finds_what_a_look_at_all_accounts_finds(actions: list[tuple[str, int]], data: st.DataObject) -> None:
    """Whatever was touched and left in between."""
    accounts: GroupAccounts[tuple[str, int]] = GroupAccounts()
    held: list[tuple[str, int]] = []
    for act in actions:
        if act in held:
            held.remove(act)
        held.append(act)
        accounts.touch(act[0], act)
        if data.draw(st.booleans()):
            left = held.pop(data.draw(st.integers(0, len(held) - 1)))
            accounts.leave(left[0], left)
        if held:
            found = accounts.oldest_of_largest()
            sizes = Counter(account for account, _ in held)
            assert sizes[found[0]] == max(sizes.values())
            assert found == next(each for each in held if each[0] == found[0])
