from lanner.wiring.single_host.loss_reports import LossReporter


def test_the_first_loss_is_told_at_once() -> None:
    """Nobody waits five minutes to learn that events are lost."""
    assert LossReporter().due({"ring full": 3}, now=0) == {"ring full": 3}


def test_no_loss_is_not_told() -> None:
    """Silence is the good news."""
    assert LossReporter().due({"ring full": 0}, now=0) == {}


def test_later_losses_wait_and_come_as_a_sum() -> None:
    """Within five minutes nothing is said; then all that came since."""
    teller = LossReporter(300)
    teller.due({"ring full": 3}, now=0)

    assert teller.due({"ring full": 5}, now=299) == {}
    assert teller.due({"ring full": 9, "stale": 1}, now=300) == {"ring full": 6, "stale": 1}


def test_what_is_left_is_told_at_the_end() -> None:
    """The sum of all reports is the sum of all losses."""
    teller = LossReporter(300)
    teller.due({"ring full": 3}, now=0)

    assert teller.due({"ring full": 4}, now=1, final=True) == {"ring full": 1}
    assert teller.due({"ring full": 4}, now=2, final=True) == {}
