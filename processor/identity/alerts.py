"""Notices about batches that do not come from the host that they name.

Pure. Whoever forges can make up ids without end, so only so many hosts get an alert of their own at a time; the others
are reported together.
"""

from processor.correlation.pre_match import QUIET, Notice
from processor.detection.internal_alerts import Cause
from processor.identity.gate import RejectedMessage

NOT_VERIFIED = "Lanner internal: batch not verified"
MOST_HOSTS = 50
_OTHER_HOSTS = ""
_ENROLL = "if the host was reinstalled or is new, `lanner hosts enroll` takes this key"


class RejectedBatches:
    """Remembers which hosts have an alert of their own."""

    def __init__(self) -> None:
        self._named: dict[str, int] = {}
        """When a batch was last rejected under each of these ids, by the broker's clock, ns."""

    def notice(
        self, rejected: RejectedMessage, position: tuple[str, int, int], hostname: str, appended: int
    ) -> tuple[Cause, Notice]:
        """Return the notice about a rejected batch, and its cause.

        Args:
            rejected: why, and under whose id it came.
            position: topic, partition, offset.
            hostname: of the host whose id it is, where known.
            appended: the broker's clock, ns.
        """
        is_named = rejected.is_known and self._is_named(rejected.host_id, appended)
        about = f"host {rejected.host_id}" if rejected.host_id else "no host"
        text = f"a batch with the id of {about} was rejected: {rejected.reason}"
        if rejected.outcome in ("other_key", "not_enrolled"):
            text += f" | {_ENROLL}"
        cause = Cause(rejected.host_id if is_named else _OTHER_HOSTS, hostname if is_named else "", appended, position)
        return cause, Notice(NOT_VERIFIED, "Critical" if is_named else "Warning", {"batches": 1}, text)

    def _is_named(self, host_id: str, now: int) -> bool:
        if host_id not in self._named and len(self._named) >= MOST_HOSTS:
            self._named = {host: at for host, at in self._named.items() if now - at < QUIET}
        if host_id in self._named or len(self._named) < MOST_HOSTS:
            self._named[host_id] = now
            return True
        return False
