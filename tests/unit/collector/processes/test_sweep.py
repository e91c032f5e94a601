from dataclasses import replace

from collector.processes.parts import ProcessFacts
from collector.processes.sweep import READS, REST_SECONDS, STEP_SECONDS, Sweep
from collector.processes.table import ProcessTable
from collector.records.types import Exec
from tests.unit.collector.processes.synthetic import EPOCH, SECOND, Proc, execution, exit_of, fork, identity, state

TICKS = 100
"""Clock ticks per second."""


class Host:
    """A table and the /proc of the same processes, with a clock."""

    def __init__(self) -> None:
        self.proc = Proc()
        self.table = ProcessTable(self.proc, EPOCH)
        self.sweep = Sweep(self.table, self.proc)
        self.seconds = 1000

    def run(self, pid: int, name: str, *, is_reported: bool = True, generation: int = 1) -> Exec:
        """Run a program, started in the second given by its pid."""
        done = execution(identity(pid, pid * SECOND, time=pid * SECOND, generation=generation), name, "x", cwd="/")
        if is_reported:
            self.table.apply(done)
        self.proc.processes[pid] = facts_of(pid, done)
        return done

    def end(self, pid: int) -> None:
        """End a process without a record."""
        del self.proc.processes[pid]

    def look(self, seconds: float = 5.0, *, read_until: int | None = None) -> None:
        """Step as the collector does, with all records processed."""
        for _ in range(int(seconds / STEP_SECONDS)):
            self.seconds += 1
            clock = self.seconds * SECOND
            self.sweep.step(self.seconds * STEP_SECONDS, clock, clock + 1 if read_until is None else read_until)


def facts_of(pid: int, done: Exec) -> ProcessFacts:
    """Return what /proc shows of a program."""
    table = ProcessTable(Proc(), EPOCH)
    table.apply(done)
    entry = table.living.get(pid)
    assert entry is not None
    return ProcessFacts(pid, pid * TICKS, entry.program, entry.credentials, entry.context)


def test_processes_whose_ends_were_lost_are_swept_after_a_loss() -> None:
    """However many there are, in bounded steps; without a loss nothing is checked."""
    host = Host()
    for pid in range(10, 3010):
        host.run(pid, "sleep")
    for pid in range(10, 3000):
        host.end(pid)
    reads = host.proc.reads
    host.look()
    assert len(host.table) == 3000
    assert host.proc.reads == reads

    host.sweep.lost(2990)
    host.look(REST_SECONDS + 5)

    assert host.sweep.ended == 2990
    assert [entry.pid for entry in host.table.living.values()] == list(range(3000, 3010))


def test_a_process_that_ended_in_good_order_meanwhile_is_not_counted() -> None:
    """Its record just had not been read yet."""
    host = Host()
    host.run(10, "cat")
    host.end(10)
    host.sweep.lost(1)
    host.look(1, read_until=0)
    assert host.table.living.get(10) is not None
    host.table.apply(exit_of(identity(10, 10 * SECOND, time=2000 * SECOND)))
    host.look()
    assert host.sweep.ended == 0


def test_a_program_whose_start_was_lost_gets_its_facts() -> None:
    """As a parent it would be shown under its old name permanently; it need not make an event of its own."""
    host = Host()
    host.run(10, "bash")
    host.run(11, "sleep")
    done = replace(host.run(10, "python", is_reported=False, generation=2), exe_ino=2000)
    host.proc.processes[10] = facts_of(10, done)
    host.sweep.lost(1)
    host.look()
    entry = host.table.living.get(10)
    assert entry is not None
    assert (entry.program.name, entry.program.exepath) == ("python", "/bin/python")
    assert (host.sweep.renewed, host.sweep.ended) == (1, 0)
    # Its next record is trusted without another read.
    reads = host.proc.reads
    found = host.table.resolve(identity(10, 10 * SECOND, generation=2))
    assert (found, found.is_stale, host.proc.reads) == (entry, False, reads)


def test_a_program_that_starts_in_between_is_reported_by_its_record() -> None:
    """/proc may be newer than the events that are still to be read."""
    host = Host()
    host.run(10, "bash")
    done = replace(host.run(10, "python", is_reported=False, generation=2), exe_ino=2000)
    host.proc.processes[10] = facts_of(10, done)
    host.sweep.lost(1)
    host.look(1, read_until=0)
    entry = host.table.living.get(10)
    assert entry is not None
    assert entry.program.name == "bash"
    host.table.apply(done)
    host.look()
    assert host.sweep.renewed == 0
    assert entry.exec_generation == 2


def test_credentials_and_places_are_renewed_too() -> None:
    """A lost setuid or chdir is as wrong as a lost exec."""
    host = Host()
    host.run(10, "su")
    reported = host.proc.processes[10]
    host.proc.processes[10] = replace(
        reported, credentials=replace(reported.credentials, uid=5), context=replace(reported.context, cwd="/tmp")
    )
    host.sweep.lost(1)
    host.look()
    entry = host.table.living.get(10)
    assert entry is not None
    assert (entry.credentials.uid, entry.context.cwd) == (5, "/tmp")
    assert (entry.program.is_lower_layer, entry.exec_generation) == (True, 1)


def test_a_pid_that_is_another_s_by_now_is_taken_again() -> None:
    """Both the end of one and the start of the other were lost."""
    host = Host()
    host.run(10, "bash")
    host.proc.processes[10] = replace(host.proc.processes[10], start_ticks=990 * TICKS)
    host.sweep.lost(2)
    host.look()
    entry = host.table.living.get(10)
    assert entry is not None
    assert entry.start_time == 990 * SECOND
    assert host.sweep.ended == 1


def test_each_step_reads_little_and_a_sweep_follows_each_loss() -> None:
    """A user who causes constant losses costs no more than one comparison after another."""
    host = Host()
    for pid in range(10, 60):
        host.run(pid, "cat")
    host.sweep.lost(1)
    before = host.proc.reads
    host.look(STEP_SECONDS)
    assert host.proc.reads - before == READS
    host.look(REST_SECONDS + 5)
    assert host.proc.reads - before == 50
    host.sweep.lost(2)
    host.look(REST_SECONDS + 5)
    assert host.proc.reads - before == 100


def test_what_forks_and_changes_while_it_is_compared_stays_as_recorded() -> None:
    """A change after the comparison invalidates it."""
    host = Host()
    host.run(10, "bash")
    reported = host.proc.processes[10]
    host.proc.processes[10] = replace(reported, context=replace(reported.context, cwd="/srv"))
    host.sweep.lost(1)
    host.look(1, read_until=0)
    host.table.apply(state(identity(10, 10 * SECOND), cwd="/home"))
    host.table.apply(fork(identity(10, 10 * SECOND), 12, 12 * SECOND))
    host.proc.processes[10] = replace(reported, context=replace(reported.context, cwd="/home"))
    host.proc.processes[12] = replace(host.proc.processes[10], pid=12, start_ticks=12 * TICKS)
    host.look()
    entry = host.table.living.get(10)
    assert entry is not None
    assert entry.context.cwd == "/home"
    assert host.table.living.get(12) is not None
