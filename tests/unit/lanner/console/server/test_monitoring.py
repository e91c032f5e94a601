import threading
import time
from collections.abc import Sequence

import pytest

from lanner.console.feed_files import LocalAlerts
from schemas.alert import Alert
from tests.unit.lanner.console.alerts import found, soon
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import Served


class HangingAlerts(LocalAlerts):
    """A source that doesn't return until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def read(self, seconds: float) -> Sequence[Alert]:
        """Wait, then return what came."""
        self.released.wait()
        return super().read(seconds)


class BrokenAlerts(LocalAlerts):
    """A source with a bug."""

    def read(self, seconds: float) -> Sequence[Alert]:
        """Fail as no source should."""
        raise RuntimeError(f"after {seconds} s")


def becomes(served: Served, status: int) -> str:
    """Wait until /healthz has a status; return its text."""
    for _ in soon():
        answer = served.ask("/healthz")
        if answer.status == status:
            return answer.text
    raise AssertionError(answer.text)


def test_a_feed_that_hangs_is_unhealthy_until_it_goes_on(serve: Serve) -> None:
    """Pages would go on to show old alerts as if nothing had happened."""
    source = HangingAlerts()
    served = serve("http.stuck_seconds=1", alerts=source)
    assert served.ask("/healthz").status == 200
    assert "bad: feed: no iteration for" in becomes(served, 503)
    source.released.set()
    assert "ok: feed: running" in becomes(served, 200)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_feed_that_stopped_is_unhealthy(serve: Serve) -> None:
    """The server itself still answers."""
    served = serve(alerts=BrokenAlerts())
    assert "bad: feed: it has stopped" in becomes(served, 503)
    served.console.stop()


def test_the_metrics_count_alerts_and_requests(serve: Serve) -> None:
    """In Prometheus's format."""
    served = serve(alerts=[found(number, time=time.time_ns()) for number in range(3)])
    served.wait_for(3)
    served.ask("/none")
    answer = served.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        "lanner_console_alerts 3.0",
        "lanner_console_alerts_taken_total 3.0",
        'lanner_consumer_lag{partition="0",topic="process"} 0.0',
        'lanner_console_requests_total{code="404"} 1.0',
        "lanner_console_sessions 0.0",
    ):
        assert line in answer.text


def test_metrics_need_a_token_where_people_sign_in(serve: Serve) -> None:
    """Prometheus gets 401, not a page to sign in; the health check needs none."""
    served = serve("console.proxy_addresses=[10.1.2.3]")
    answer = served.ask("/metrics")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert served.ask("/healthz").status == 200
