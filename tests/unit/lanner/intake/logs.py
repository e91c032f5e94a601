"""A log file of numbered lines, and what follows it."""

import shutil
from pathlib import Path

from lanner.intake.log_file import GRACE_SECONDS, LogFollower, PlaceFile
from tests.notes import into


class Log:
    """Writes numbered lines to a log file, and rotates it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log" / "audit.log"
        self.path.parent.mkdir(exist_ok=True)
        self.written = 0
        self.notes: list[str] = []
        self._state = folder / "state"
        self._now = 0.0

    def write(self, count: int = 1) -> None:
        """Append complete lines; each is different."""
        with self.path.open("ab") as file:
            for _ in range(count):
                file.write(b"line %d\n" % self.written)
                self.written += 1

    def rename(self, name: str = "audit.log.1") -> None:
        """Rename it; the next write makes a new one."""
        self.path.rename(self.path.with_name(name))

    def copy_and_truncate(self, name: str = "audit.log.1") -> None:
        """Rotate as logrotate does with `copytruncate`."""
        shutil.copy(self.path, self.path.with_name(name))
        with self.path.open("r+b") as file:
            file.truncate(0)

    def follower(self) -> LogFollower:
        """Return a follower, as after a start."""
        return LogFollower(self.path, PlaceFile(self._state, self.path), into(self.notes), lambda: self._now)

    def wait(self) -> None:
        """Advance the clock by the time after which a renamed file is left."""
        self._now += GRACE_SECONDS

    def read(self, follower: LogFollower, *, commits: bool = True) -> list[int]:
        """Return the numbers of all lines that can be read now; time passes where there are none."""
        found: list[int] = []
        idle = 0
        # A renamed file is left once nothing was written to it for a while.
        while idle < 3:
            lines = follower.next()
            if lines is None:
                idle += 1
                self.wait()
                continue
            idle = 0
            found += [int(line.split()[1]) for line in lines.lines]
            if commits:
                follower.commit(lines)
        return found
