"""The fuse of an action policy: how much it may do in an hour, to how many hosts, and to how many of one workload.

Pure: time and the number of hosts are arguments. A rule that matches everything blows its fuse instead of stopping a
fleet; from then on, nothing is done until a person resets it.
"""

from collections import Counter, deque
from dataclasses import dataclass

from foundation.times import date_and_time_seconds
from processor.actions.planning import PlannedAction
from processor.actions.policies import ActionBudget

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
        self._budget = budget
        self._lasting: list[_Spent] = []
        self._recent: deque[int] = deque()
        self.blown = ""
        """Why and when it blew; empty if it didn't."""

    def spend(self, planned: PlannedAction, workload: str, hosts: int) -> str:
        """Return why an action isn't allowed; empty if it is, and now counts.

        Args:
            planned: the action; those of one policy come in the order of their alerts.
            workload: what its target is a replica of; empty for none.
            hosts: the number of hosts in the fleet.
        """
        if self.blown:
            return "the fuse has blown"
        now = planned.alert.time
        host = planned.alert.host_id or planned.alert.hostname
        self._lasting = [each for each in self._lasting if each.end > now]
        while self._recent and self._recent[0] <= now - _HOUR:
            self._recent.popleft()
        replicas = Counter(each.workload for each in self._lasting)
        if workload and replicas[workload] >= self._budget.replicas:
            return f"{replicas[workload]} of its workload already"
        touched = {each.host_id for each in self._lasting} | {host}
        most = max(hosts * self._budget.hosts_percent // 100, 1)
        if len(self._recent) >= self._budget.per_hour:
            self._blow(now, f"{self._budget.per_hour} in an hour")
        elif len(touched) > most:
            self._blow(now, f"{len(touched)} of {hosts} hosts at once")
        if self.blown:
            return "the fuse has blown"
        self._recent.append(now)
        self._lasting.append(_Spent(now, now + (planned.policy.lease or _HOUR), host, workload))
        return ""

    def _blow(self, now: int, why: str) -> None:
        self.blown = f"{why}, at {date_and_time_seconds(now, utc=True)}"
