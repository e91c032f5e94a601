"""The fuse of an action policy: how much it may do in an hour, to how many hosts, and to how many of one workload.

Pure: time and the number of hosts are arguments. A rule that matches everything blows its fuse instead of stopping a
fleet; from then on, nothing is done until a person resets it.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundation.quantities import date_and_time_seconds
from processor.actions.policies import ActionBudget
from schemas.action import ActionIntent

BLOWN = "the fuse has blown"

_HOUR = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class _Spent:
    """An action that counts until its end."""

    time: int
    end: int
    host_id: str
    workload: str


class Fuse:
    """Decides whether the budget of one policy allows an action, and remembers it if so."""

    def __init__(self, budget: ActionBudget) -> None:
        self.budget = budget
        self.blown = ""
        """Why and when it blew; empty if it didn't."""
        self.blown_at = 0
        """When it blew, ns since the epoch."""
        self._lasting: list[_Spent] = []
        self._recent: deque[int] = deque()

    def spend(self, intent: ActionIntent, now: int, hosts: int) -> str:
        """Return why an action isn't allowed; empty if it is, and now counts.

        Args:
            intent: the action.
            now: ns since the epoch, by one clock for all actions of the policy.
            hosts: the number of hosts in the fleet.
        """
        if self.blown:
            return BLOWN
        self._lasting = [each for each in self._lasting if each.end > now]
        while self._recent and self._recent[0] <= now - _HOUR:
            self._recent.popleft()
        workload = "" if intent.target == "host" else intent.workload
        replicas = Counter(each.workload for each in self._lasting)
        if workload and replicas[workload] >= self.budget.replicas:
            return f"{replicas[workload]} of its workload already"
        touched = {each.host_id for each in self._lasting} | {intent.host_id}
        most = max(hosts * self.budget.hosts_percent // 100, 1)
        if len(self._recent) >= self.budget.per_hour:
            self._blow(now, f"{self.budget.per_hour} in an hour")
        elif len(touched) > most:
            self._blow(now, f"{len(touched)} of {hosts} hosts at once")
        if self.blown:
            return BLOWN
        self._recent.append(now)
        self._lasting.append(_Spent(now, now + (intent.lease or _HOUR), intent.host_id, workload))
        return ""

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        lasting = [[each.time, each.end, each.host_id, each.workload] for each in self._lasting]
        return {"blown": self.blown, "blown_at": self.blown_at, "recent": list(self._recent), "lasting": lasting}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state of another fuse of the policy, as dump returned it. Raises ValueError, KeyError, TypeError."""
        self._lasting = [
            _Spent(int(time), int(end), str(host), str(what)) for time, end, host, what in state["lasting"]
        ]
        self._recent = deque(int(time) for time in state["recent"])
        self.blown, self.blown_at = str(state["blown"]), int(state["blown_at"])

    def _blow(self, now: int, why: str) -> None:
        self.blown, self.blown_at = f"{why}, at {date_and_time_seconds(now, utc=True)}", now
