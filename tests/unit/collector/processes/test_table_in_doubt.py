from collector.processes.parts import Credentials
from collector.processes.process import TICK
from tests.unit.collector.processes.synthetic import (
    CONTAINER_CGROUP,
    EPOCH,
    execution,
    exit_of,
    facts,
    fork,
    identity,
    state,
    table,
)


class TestContradictions:
    def test_a_lost_exec_is_read_from_proc(self) -> None:
        """A newer generation than known means that an exec record was lost."""
        processes, proc = table()
        processes.apply(execution(identity(10, 7 * TICK), "bash"))
        proc.processes[10] = facts(10, "vim", 7)

        entry = processes.resolve(identity(10, 7 * TICK, generation=2))

        assert (entry.program.name, entry.exec_time) == ("vim", None)
        assert processes.stale == 0

    def test_a_lost_exec_of_a_process_that_is_gone_leaves_the_facts_missing(self) -> None:
        """The old program's name would be wrong; pid, user, start, parent and container are certain."""
        processes, _ = table()
        processes.apply(execution(identity(9), "sshd"))
        processes.apply(fork(identity(9), 10))
        processes.apply(execution(identity(10, cgroup=CONTAINER_CGROUP), "bash", ppid=9))

        who = identity(10, generation=2, cgroup=CONTAINER_CGROUP)
        entry = processes.resolve(who)

        assert entry.is_stale
        assert (entry.program.name, entry.context.cwd) == (None, None)
        assert (entry.pid, entry.credentials.uid, entry.start_epoch) == (10, 0, EPOCH + 10_000)
        assert entry.parent is processes.living.get(9)
        assert entry.container is not None
        assert processes.resolve(who) is entry
        assert processes.stale == 2

    def test_proc_is_queried_once_for_what_it_does_not_know(self) -> None:
        """A flood of events of an ended process must not become a flood of reads."""
        processes, proc = table()

        for _ in range(50):
            assert processes.resolve(identity(10)).is_stale

        assert (proc.reads, processes.stale) == (1, 50)

    def test_an_older_generation_is_never_given_the_newer_program(self) -> None:
        """/proc shows the newest program only, so it isn't even read."""
        processes, proc = table()
        processes.apply(execution(identity(10, generation=3), "new"))
        reads = proc.reads

        assert processes.resolve(identity(10, generation=2)).is_stale
        assert proc.reads == reads
        assert processes.resolve(identity(10, generation=3)).program.name == "new"

    def test_a_reused_pid_with_lost_records_is_read_again(self) -> None:
        """Exit and fork were lost; the start time reveals it."""
        processes, proc = table()
        processes.apply(execution(identity(10, 7 * TICK), "old"))
        proc.processes[10] = facts(10, "new", 90)

        assert processes.resolve(identity(10, 90 * TICK + 4, generation=5)).program.name == "new"
        assert processes.resolve(identity(10, 7 * TICK)).program.name == "old"
        assert processes.stale == 0

    def test_an_event_that_arrives_after_the_exit_finds_its_process(self) -> None:
        """Even if the pid has been reused."""
        processes, _ = table()
        processes.apply(execution(identity(10), "short"))
        processes.apply(exit_of(identity(10, time=11_000)))
        processes.apply(execution(identity(10, 12_000), "next"))

        assert processes.resolve(identity(10)).program.name == "short"
        assert processes.resolve(identity(10, 12_000)).program.name == "next"

    def test_a_proc_that_shows_another_process_is_not_believed(self) -> None:
        """The pid was reused between the record and the read."""
        processes, proc = table()
        proc.processes[10] = facts(10, "other", 500)

        entry = processes.resolve(identity(10, 4 * TICK))

        assert entry.is_stale
        assert entry.program.name is None

    def test_a_fork_of_an_unknown_parent_is_read_or_missing(self) -> None:
        """Nothing is inherited from an unknown process."""
        processes, proc = table()
        processes.apply(fork(identity(10), 11, 4 * TICK))
        assert processes.resolve(identity(11, 4 * TICK)).is_stale

        proc.processes[12] = facts(12, "child", 5, ppid=10)
        processes.apply(fork(identity(10), 12, 5 * TICK))
        assert processes.resolve(identity(12, 5 * TICK)).program.name == "child"

    def test_an_exec_heals_a_process_that_was_not_known(self) -> None:
        """An exec record contains everything needed."""
        processes, _ = table()
        assert processes.resolve(identity(10)).is_stale

        processes.apply(execution(identity(10, generation=2), "found"))

        assert processes.resolve(identity(10, generation=2)).program.name == "found"

    def test_a_late_exec_does_not_bring_back_an_old_program(self) -> None:
        """Lifecycle records may lag behind events that were resolved from /proc."""
        processes, proc = table()
        processes.apply(execution(identity(10, 7 * TICK), "first"))
        proc.processes[10] = facts(10, "third", 7)
        processes.resolve(identity(10, 7 * TICK, generation=3))

        processes.apply(execution(identity(10, 7 * TICK, generation=2), "second"))

        assert processes.resolve(identity(10, 7 * TICK, generation=3)).program.name == "third"


class TestUsers:
    def test_a_thread_with_another_user_is_read_once(self) -> None:
        """File servers change the user of single threads; the process itself keeps its own."""
        processes, proc = table()
        processes.apply(execution(identity(10), "smbd"))
        proc.threads[10, 15] = Credentials(1000, 1000, 0, 0, 0)
        reads = proc.reads

        views = [processes.resolve(identity(10, tid=15, uid=1000)) for _ in range(5)]

        assert {view.credentials.uid for view in views} == {1000}
        assert len(set(views)) == 1
        assert views[0].program.name == "smbd"
        assert processes.resolve(identity(10)).credentials.uid == 0
        assert (proc.reads - reads, processes.stale) == (1, 0)

    def test_a_thread_s_state_is_its_own(self) -> None:
        """A raw setuid changes one thread, and its record identifies it."""
        processes, proc = table()
        processes.apply(execution(identity(10), "smbd"))
        reads = proc.reads

        processes.apply(state(identity(10, tid=15, uid=1000), gid=1000, comm="smbd"))

        assert processes.resolve(identity(10, tid=15, uid=1000)).credentials.gid == 1000
        assert processes.resolve(identity(10)).credentials.uid == 0
        assert proc.reads == reads

    def test_a_user_that_proc_cannot_confirm_is_still_the_record_s(self) -> None:
        """Program and user are certain; group and capabilities are missing, and that is counted."""
        processes, _ = table()
        processes.apply(execution(identity(10), "smbd"))

        entry = processes.resolve(identity(10, uid=7))

        assert (entry.program.name, entry.credentials) == ("smbd", Credentials(7))
        assert processes.stale == 1

    def test_a_lost_state_of_the_main_thread_is_read(self) -> None:
        """The whole process then has the user that /proc confirms."""
        processes, proc = table()
        processes.apply(execution(identity(10), "nginx"))
        proc.threads[10, 10] = Credentials(33, 33, 0, 0, 0)

        assert processes.resolve(identity(10, uid=33)) is processes.living.get(10)

    def test_views_follow_the_process(self) -> None:
        """A thread's view of its process is never older than the process."""
        processes, _ = table()
        processes.apply(execution(identity(10), "smbd"))
        processes.apply(state(identity(10, tid=15, uid=5), comm="smbd"))
        assert processes.resolve(identity(10, tid=15, uid=5)).context.cwd == "/"

        processes.apply(state(identity(10), comm="smbd", cwd="/srv"))

        assert processes.resolve(identity(10, tid=15, uid=5)).context.cwd == "/srv"
