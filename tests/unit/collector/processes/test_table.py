import gc
import sys
from dataclasses import replace

from collector.processes.container_names import Naming
from collector.processes.parts import Credentials
from collector.processes.process import TICK
from collector.processes.relatives import MAX_EXITED, ancestors
from collector.processes.table import ProcessTable
from tests.unit.collector.processes.synthetic import (
    CONTAINER_CGROUP,
    CONTAINER_ID,
    EPOCH,
    SECOND,
    Proc,
    execution,
    exit_of,
    facts,
    fork,
    identity,
    state,
    table,
)


class TestFollowing:
    def test_a_forked_child_is_its_parent_until_it_execs(self) -> None:
        """Everything but pid, parent and start is inherited; an exec then replaces the program."""
        processes, proc = table()
        shell = identity(10)
        processes.apply(execution(shell, "bash", "-i", tty=34816))
        processes.apply(fork(shell, 11))

        child = processes.resolve(identity(11))
        assert (child.program.name, child.program.args) == ("bash", ("-i",))
        assert (child.context.ppid, child.context.tty, child.context.sid) == (10, 34816, 10)
        assert child.exec_time == child.start_epoch == EPOCH + 11_000

        processes.apply(execution(identity(11, time=20_000, generation=2), "cat", "/etc/shadow", ppid=10))
        child = processes.resolve(identity(11, generation=2))
        assert (child.program.name, child.program.exe, child.program.args) == ("cat", "cat", ("/etc/shadow",))
        assert child.parent is processes.living.get(10)
        assert (child.start_epoch, child.exec_time) == (EPOCH + 11_000, EPOCH + 20_000)
        assert (processes.stale, proc.reads) == (0, 1)  # one read for the shell's unknown parent

    def test_an_exec_from_a_thread_keeps_the_process(self) -> None:
        """The thread that execs takes over the main thread's pid and start time."""
        processes, _ = table()
        processes.apply(execution(identity(10), "java"))
        before = processes.living.get(10)

        processes.apply(execution(identity(10, tid=15, generation=2), "sh"))

        assert processes.resolve(identity(10, generation=2)) is before
        assert before is not None
        assert before.program.name == "sh"

    def test_an_event_of_a_thread_is_its_process_s(self) -> None:
        """Threads have the pid, start and generation of their process."""
        processes, _ = table()
        processes.apply(execution(identity(10), "java"))

        assert processes.resolve(identity(10, tid=15)) is processes.living.get(10)

    def test_state_replaces_place_and_credentials_but_not_the_name(self) -> None:
        """A process that renames itself by prctl keeps the name of its exec."""
        processes, _ = table()
        processes.apply(execution(identity(10), "nginx"))

        processes.apply(state(identity(10, uid=33), comm="harmless", cwd="/srv", sid=4, gid=33, cap_effective=1))

        entry = processes.resolve(identity(10, uid=33))
        assert (entry.program.name, entry.context.cwd, entry.context.sid) == ("nginx", "/srv", 4)
        assert entry.credentials == Credentials(33, 33, 1, 0, 0)

    def test_a_child_is_called_what_its_parent_calls_itself_at_the_fork(self) -> None:
        """Rules recognize a runtime's helpers by such names; the parent keeps the name of its exec."""
        processes, _ = table()
        processes.apply(execution(identity(10), "runc", "init"))
        processes.apply(state(identity(10), comm="runc:[0:PARENT]"))
        processes.apply(fork(identity(10), 11))

        child = processes.resolve(identity(11))

        assert (child.program.name, child.program.args) == ("runc:[0:PARENT]", ("init",))
        assert processes.resolve(identity(10)).program.name == "runc"

    def test_state_that_changes_nothing_changes_nothing(self) -> None:
        """A chdir to the current directory gives no new version, and so no new row."""
        processes, _ = table()
        processes.apply(execution(identity(10), "nginx"))
        entry = processes.living.get(10)
        assert entry is not None
        before = (entry.version, processes.changes)

        processes.apply(state(identity(10), comm="nginx"))

        assert (entry.version, processes.changes) == before

    def test_clone_parent_makes_a_sibling(self) -> None:
        """Under CLONE_PARENT the child's parent is the caller's parent."""
        processes, _ = table()
        processes.apply(execution(identity(10), "shim"))
        processes.apply(fork(identity(10), 11))
        processes.apply(execution(identity(11, generation=2), "runc", ppid=10))
        processes.apply(fork(identity(11, generation=2), 12, real_parent=10))

        child = processes.resolve(identity(12, generation=2))

        assert (child.program.name, child.context.ppid) == ("runc", 10)
        assert child.parent is processes.living.get(10)

    def test_the_init_of_a_new_pid_namespace_starts_it(self) -> None:
        """A child with virtual pid 1 is the namespace's first process."""
        processes, _ = table()
        processes.apply(execution(identity(10), "runc"))
        processes.apply(fork(identity(10), 11, vpid=1))

        child = processes.resolve(identity(11))

        assert (child.context.vpid, child.context.pid_namespace_init_start) == (1, 11_000)

    def test_the_container_is_the_cgroup_s_and_never_lost(self) -> None:
        """A child has its parent's container, and leaves it only for another one."""
        processes, _ = table()
        inside = identity(10, cgroup=CONTAINER_CGROUP)
        processes.apply(execution(inside, "sh"))
        processes.apply(fork(inside, 11))
        child = processes.resolve(identity(11, cgroup=CONTAINER_CGROUP))
        assert child.container is not None
        assert child.container.full_id == CONTAINER_ID

        processes.apply(state(identity(11), cgroup="/", ppid=10))

        assert processes.resolve(identity(11)).container == child.container

    def test_a_process_moved_into_a_known_cgroup_is_noticed(self) -> None:
        """A runtime moves its helper by writing to a file, which makes no record for the helper."""
        processes, proc = table()
        processes.apply(execution(identity(10, cgroup=CONTAINER_CGROUP), "sh"))
        processes.apply(execution(identity(20), "runc"))
        reads = proc.reads

        moved = processes.resolve(identity(20, cgroup=CONTAINER_CGROUP))

        assert moved.container is not None
        assert moved.container.full_id == CONTAINER_ID
        assert proc.reads == reads


class TestAncestors:
    def test_a_parent_that_ended_stays_the_parent(self) -> None:
        """Adoption by init doesn't hide who started a daemon; ppid is the kernel's."""
        processes, _ = table(facts(1, "systemd"))
        processes.seed(list(_.processes.values()))
        for pid, name in ((10, "nginx"), (11, "sh")):
            processes.apply(fork(identity(1 if pid == 10 else 10), pid))
            processes.apply(execution(identity(pid), name, ppid=pid - 1 if pid == 11 else 1))
        processes.apply(fork(identity(11), 12))
        processes.apply(exit_of(identity(11, time=50_000)))
        processes.apply(execution(identity(12, time=60_000, generation=2), "daemon", ppid=1))

        daemon = processes.resolve(identity(12, generation=2))

        assert [each.program.name for each in ancestors(daemon)] == ["sh", "nginx", "systemd"]
        assert daemon.context.ppid == 1

    def test_a_subreaper_becomes_the_parent(self) -> None:
        """What a runtime's helper started belongs to its shim once the helper has ended."""
        processes, _ = table()
        processes.apply(execution(identity(10), "containerd-shim"))
        processes.apply(fork(identity(10), 11))
        processes.apply(execution(identity(11, generation=2), "runc", ppid=10))
        processes.apply(fork(identity(11, generation=2), 12, vpid=7))
        processes.apply(exit_of(identity(11, time=50_000)))
        processes.apply(execution(identity(12, time=60_000, generation=3), "bash", ppid=10, vpid=7))

        shell = processes.resolve(identity(12, generation=3))

        assert shell.parent is processes.living.get(10)

    def test_the_shim_is_the_parent_even_while_its_helper_still_runs(self) -> None:
        """A program put into a container from outside may start before or after the helper has ended."""
        processes, _ = table()
        processes.apply(execution(identity(10), "containerd-shim"))
        processes.apply(fork(identity(10), 11))
        processes.apply(execution(identity(11, generation=2), "runc", ppid=10))
        processes.apply(fork(identity(11, generation=2), 12, vpid=7))
        inside = identity(12, time=60_000, generation=3, cgroup=CONTAINER_CGROUP)
        processes.apply(execution(inside, "bash", ppid=11, vpid=7))

        shell = processes.resolve(inside)

        assert shell.parent is processes.living.get(10)
        assert shell.context.ppid == 10

    def test_a_runtime_started_by_hand_stays_the_parent(self) -> None:
        """Without a shim the helper waits for its container."""
        processes, _ = table()
        processes.apply(execution(identity(10), "bash"))
        processes.apply(fork(identity(10), 11))
        processes.apply(execution(identity(11, generation=2), "runc", ppid=10))
        processes.apply(fork(identity(11, generation=2), 12, vpid=1))
        inside = identity(12, generation=3, cgroup=CONTAINER_CGROUP)
        processes.apply(execution(inside, "sh", ppid=11, vpid=1))

        assert processes.resolve(inside).parent is processes.living.get(11)

    def test_a_chain_that_forks_and_exits_for_ever_is_cut(self) -> None:
        """The living ancestor at its top stays; of the ended ones only the newest do."""
        processes, _ = table()
        processes.apply(execution(identity(5), "origin"))
        last = identity(5)
        for pid in range(10, 10 + 4 * MAX_EXITED):
            processes.apply(fork(last, pid))
            if last.pid != 5:
                processes.apply(exit_of(replace(last, time=pid * 1000)))
            last = identity(pid)

        chain = list(ancestors(processes.resolve(last)))

        assert len(chain) == MAX_EXITED + 1 + 1
        assert chain[-1] is processes.living.get(5)

    def test_leaders_are_found_by_number_or_by_descent(self) -> None:
        """If a session's leader is gone, it is the eldest ancestor in that session."""
        processes, _ = table()
        processes.apply(execution(identity(10), "sshd"))
        processes.apply(fork(identity(10), 11))
        processes.apply(execution(identity(11), "bash", ppid=10))
        processes.apply(fork(identity(11), 12))
        processes.apply(fork(identity(12), 13))
        grandchild = processes.resolve(identity(13))
        assert processes.session_leader(grandchild) is processes.living.get(11)
        assert processes.group_leader(grandchild) is processes.living.get(11)

        processes.apply(exit_of(identity(11, time=90_000)))

        leader = processes.session_leader(grandchild)
        assert leader is not None
        assert leader.program.name == "bash"
        assert leader.exited_at == 90_000


class TestSeeding:
    def test_a_seeded_process_is_recognised_within_a_tick(self) -> None:
        """/proc shows the start in ticks; the first record brings the exact time and the generation."""
        processes, proc = table()
        processes.seed([facts(10, "cron", start_ticks=300, ppid=0)])
        start = 300 * TICK + 9_999_999

        entry = processes.resolve(identity(10, start, generation=8))

        assert (entry.program.name, entry.start_time, entry.exec_generation) == ("cron", start, 8)
        assert entry.start_epoch == EPOCH + start
        assert (proc.reads, processes.stale) == (0, 0)
        assert processes.resolve(identity(10, start, generation=8)) is entry

    def test_a_start_one_tick_later_is_another_process(self) -> None:
        """A pid reused within 10 ms of the old process's tick is recognized."""
        processes, _ = table()
        processes.seed([facts(10, "cron", start_ticks=300)])

        entry = processes.resolve(identity(10, 301 * TICK, generation=8))

        assert entry.is_stale
        assert entry.program.name is None

    def test_parents_and_containers_are_linked(self) -> None:
        """Seeded processes refer to their parents, and are in the container of their own cgroup or their parent's."""
        processes, _ = table()
        processes.seed(
            [
                facts(30, "sleep", 5, ppid=20, cgroup="/"),
                facts(20, "sh", 4, ppid=1, cgroup=f"/docker/{CONTAINER_ID}", pid_namespace=9, vpid=1),
                facts(1, "init", 0, ppid=0),
            ]
        )
        sleep = processes.living.get(30)
        assert sleep is not None
        assert [each.program.name for each in ancestors(sleep)] == ["sh", "init"]
        assert sleep.container is not None
        shell = sleep.parent
        assert shell is not None
        assert shell.context.pid_namespace_init_start == 4 * TICK

    def test_what_records_reported_already_is_retained(self) -> None:
        """A process that made a record before /proc was read is not overwritten."""
        processes, _ = table()
        processes.apply(execution(identity(10, 3 * TICK + 5), "new"))

        processes.seed([facts(10, "old", 3)])

        assert processes.resolve(identity(10, 3 * TICK + 5)).program.name == "new"


class TestFrozen:
    def test_a_frozen_process_stays_what_it_was(self) -> None:
        """A waiting event is evaluated with the ancestors that it had."""
        processes, _ = table()
        processes.apply(execution(identity(10), "bash"))
        processes.apply(fork(identity(10), 11))
        child = processes.resolve(identity(11))
        frozen = processes.frozen(child)
        assert processes.frozen(child) is frozen

        processes.apply(execution(identity(10, generation=2), "exec-ed"))
        processes.apply(execution(identity(11, generation=2), "cat", ppid=10))

        assert [frozen.program.name, frozen.parent and frozen.parent.program.name] == ["bash", "bash"]
        leader = processes.session_leader(frozen)
        assert leader is not None
        assert leader.program.name == "bash"
        assert processes.frozen(child) is not frozen


class TestMemory:
    def test_100_000_short_processes_leave_no_growth(self) -> None:
        """Ended processes are dropped by count and by the time of the records."""
        processes, _ = table()
        processes.apply(execution(identity(5), "bash"))

        def run(first: int, count: int) -> None:
            for number in range(first, first + count):
                pid = 1000 + number % 30_000
                start = number * SECOND // 100
                processes.apply(fork(identity(5, time=start), pid, start))
                processes.apply(execution(identity(pid, start, generation=2), "true", str(number), ppid=5))
                processes.resolve(identity(pid, start, generation=2))
                processes.apply(exit_of(identity(pid, start, time=start + 1, generation=2)))

        run(1, 20_000)
        gc.collect()
        objects, blocks, entries = len(gc.get_objects()), sys.getallocatedblocks(), len(processes)
        run(20_001, 100_000)
        gc.collect()

        assert len(processes) <= entries + 10
        assert len(gc.get_objects()) < objects + 500
        assert sys.getallocatedblocks() < blocks + 5000

    def test_a_fork_bomb_with_no_time_passing_is_bounded_by_count(self) -> None:
        """Record time alone would not help when everything happens at once."""
        processes = ProcessTable(Proc(), 0, exited_limit=100)
        processes.apply(execution(identity(5), "bash"))
        for pid in range(10, 2010):
            processes.apply(fork(identity(5), pid))
            processes.apply(exit_of(identity(pid, time=pid * 1000)))

        assert len(processes) == 101


def test_a_user_who_names_a_cgroup_like_a_container_s_stays_on_the_host() -> None:
    """Below their own slice, users may give cgroups any name."""
    processes, _ = table()
    before, after = identity(50, cgroup=4241), identity(50, cgroup=4242, generation=2)
    delegated = "/user.slice/user-1000.slice/user@1000.service/app.slice"
    processes.apply(execution(before, "bash", cgroup=f"{delegated}/run-1.scope"))
    processes.apply(execution(after, "bash", cgroup=f"{delegated}/docker-{CONTAINER_ID}.scope"))

    assert processes.resolve(after).container is None


def test_further_parents_are_those_that_are_configured() -> None:
    """There a runtime creates its cgroups, for example a rootless one."""
    naming = Naming(["/jobs"])
    processes = ProcessTable(Proc(), EPOCH, container_of=naming.container_of)
    who = identity(50, cgroup=4242)
    processes.apply(execution(who, "bash", cgroup=f"/jobs/{CONTAINER_ID}"))

    found = processes.resolve(who).container
    assert found is not None
    assert found.full_id == CONTAINER_ID
