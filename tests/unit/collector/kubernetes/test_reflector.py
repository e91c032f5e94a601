import pytest

from collector.kubernetes.objects import ApiStatus, KubernetesObject, Page, WatchEvent
from collector.kubernetes.reflector import ListRequest, Reflector, RequestFailure, WatchRequest

A, B = KubernetesObject("a", "a"), KubernetesObject("b", "b")


def listed() -> Reflector:
    """Return a reflector that has read its list at version 5."""
    reflector = Reflector(lambda: 1.0)
    assert reflector.take_page(Page((A,), "5", "")) == [A]
    return reflector


def test_a_list_is_read_page_by_page_and_then_watched() -> None:
    """Only the last page gives the list."""
    reflector = Reflector(lambda: 1.0)
    assert reflector.next_request() == ListRequest("")
    assert reflector.take_page(Page((A,), "5", "token")) is None
    assert reflector.next_request() == ListRequest("token")
    assert reflector.take_page(Page((B,), "5", "")) == [A, B]
    assert reflector.next_request() == WatchRequest("5")
    assert reflector.lists == 1


def test_a_watch_continues_from_the_newest_version() -> None:
    """Bookmarks move it as well."""
    reflector = listed()
    reflector.next_request()
    assert reflector.take_event(WatchEvent("ADDED", "6", B)) is None
    assert reflector.take_event(WatchEvent("BOOKMARK", "9")) is None
    assert reflector.ended(0.1) is None
    assert reflector.next_request() == WatchRequest("9")
    reflector.failed(RequestFailure("lost"))
    assert reflector.next_request() == WatchRequest("9")
    assert reflector.restarts == {"ended": 1, "lost": 1}


def test_410_lists_again_at_once() -> None:
    """As an event of a watch, as its answer, and while a list is read."""
    reflector = listed()
    reflector.next_request()
    failure = reflector.take_event(WatchEvent("ERROR", status=ApiStatus(410, "too old")))
    assert failure == RequestFailure("gone", 410, text="too old")
    assert reflector.failed(failure) <= 0.5
    assert reflector.next_request() == ListRequest("")
    reflector.take_page(Page((A,), "8", "token"))
    reflector.failed(RequestFailure("gone", 410))
    assert reflector.next_request() == ListRequest("")
    assert reflector.take_page(Page((B,), "9", "")) == [B]
    assert reflector.restarts == {"gone": 1}


def test_failures_wait_longer_and_longer_with_jitter() -> None:
    """Up to 30 seconds; a success resets it."""
    waits = [Reflector(lambda: 1.0), Reflector(lambda: 0.0)]
    longest = [waits[0].failed(RequestFailure("lost")) for _ in range(9)]
    shortest = [waits[1].failed(RequestFailure("lost")) for _ in range(9)]
    assert longest == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert shortest == [each / 2 for each in longest]
    waits[0].take_page(Page((), "5", ""))
    assert waits[0].failed(RequestFailure("lost")) == 0.5


def test_the_wait_that_the_server_requires_is_respected() -> None:
    """With 429 and 503, up to two minutes."""
    reflector = listed()
    assert reflector.failed(RequestFailure("refused", 429, retry_after=7.0)) == pytest.approx(7.25)
    assert reflector.failed(RequestFailure("refused", 429, retry_after=9999.0)) == pytest.approx(120.25)
    assert reflector.failed(RequestFailure("refused", 500, retry_after=9999.0)) == 2


def test_a_version_that_fails_again_and_again_is_given_up() -> None:
    """An API server restored from a backup never reaches it."""
    reflector = listed()
    for _ in range(4):
        reflector.failed(RequestFailure("refused", 504))
        assert reflector.next_request() == WatchRequest("5")
    reflector.failed(RequestFailure("refused", 504))
    assert reflector.next_request() == ListRequest("")


def test_a_watch_that_ends_at_once_waits() -> None:
    """A proxy that closes each watch must not be asked a thousand times a second."""
    reflector = listed()
    reflector.next_request()
    failure = reflector.ended(0.01)
    assert failure is not None
    assert reflector.failed(failure) > 0
    reflector.next_request()
    assert reflector.ended(5.0) is None
