"""The query of an address of the view Search."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from lanner.console.store.filters import ALL_TIME, Filters, time_range

DEFAULT_SINCE = "1h"
_MAX_TIME = 40


@dataclass(frozen=True, slots=True)
class SearchForm:
    """The values of the form."""

    q: str = ""
    """The condition."""
    since: str = DEFAULT_SINCE
    """A duration before now, a time, or `all`."""
    until: str = ""

    def milliseconds(self, now: int) -> tuple[int, int]:
        """Return the time range, ms since the epoch. now: ns. Raises BadPageFilter."""
        found = time_range(Filters(since=self.since, until=self.until), now)
        until = now // 1_000_000 + 1 if found.until is None else found.until // 1000
        return found.since // 1000, until

    @property
    def query(self) -> dict[str, str]:
        """The query of an address."""
        return {"q": self.q, "since": self.since} | ({"until": self.until} if self.until else {})

    def address(self, until: str) -> str:
        """Return the address of the same search with another end."""
        return f"/search?{urlencode(self.query | {'until': until})}"


def read_form(query: Mapping[str, str], *, is_recording: bool) -> SearchForm:
    """Read the query of an address. is_recording: the events may be of any time."""
    default = ALL_TIME if is_recording else DEFAULT_SINCE
    times = (query.get(name, "").strip()[:_MAX_TIME] for name in ("since", "until"))
    since, until = times
    return SearchForm(query.get("q", "").strip(), since or default, until)
