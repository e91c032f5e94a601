from collections.abc import Iterator
from dataclasses import replace

import pytest

from collector.processes.container_names import ContainerName, container_of
from collector.processes.process import TrackedProcess
from collector.processes.relatives import ancestors
from collector.processes.rows import ProcessRows
from collector.processes.table import ProcessTable
from collector.processes.users import Names
from schemas.batch import Container, Process
from schemas.encoding.batch import encode_batch
from tests.unit.collector.processes.synthetic import (
    CONTAINER_CGROUP,
    CONTAINER_ID,
    CONTAINER_PATH,
    Proc,
    execution,
    exit_of,
    fork,
    identity,
    state,
)
from tests.unit.processor.batches import batch_of

EPOCH = 10**18


class NamesByRule:
    """Names that show which ids were looked up."""

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        """Return invented names."""
        where = "host" if container is None else f"{container.full_id[:3]}{pids}"
        return Names(f"u{uid}@{where}", f"g{gid}", f"l{loginuid}", "/home", "/bin/sh")


class Facts:
    """Container facts that the test may replace."""

    def __init__(self) -> None:
        self.version = 0
        self.known: dict[str, Container] = {}

    def facts(self, name: ContainerName) -> Container:
        """Return what is known, at least the id."""
        return self.known.setdefault(name.full_id, Container(name.id, name.full_id, name.type))


def world() -> tuple[ProcessTable, ProcessRows, Facts]:
    """Return an empty table, its rows and the container facts behind them."""
    processes, facts = ProcessTable(Proc(), EPOCH), Facts()
    return processes, ProcessRows(processes, NamesByRule(), facts), facts


def test_a_row_holds_everything_that_is_known() -> None:
    """Times are epoch times, names come from the user files, and a leader's row is its own."""
    processes, rows, _ = world()
    who = identity(10, time=20_000, uid=7)
    processes.apply(execution(who, "cat", "a", "b", tty=34816, loginuid=1000, cap_effective=3, gid=8))

    row = rows.row(processes.resolve(who))

    process = rows.processes[row]
    assert (process.pid, process.ppid, process.name, process.exe, process.args) == (10, 1, "cat", "cat", ("a", "b"))
    assert (process.user, process.group, process.login_name) == ("u7@host", "g8", "l1000")
    assert (process.start_time, process.exec_time) == (EPOCH + 10_000, EPOCH + 20_000)
    assert process.pidns_init_start_time == EPOCH + 10
    assert (process.tty, process.loginuid, process.uid, process.gid, process.cap_effective) == (34816, 1000, 7, 8, 3)
    assert (process.is_exe_writable, process.is_exe_lower_layer, process.exe_ino_ctime) == (True, True, 5)
    assert (process.container, process.parent, process.session_leader, process.group_leader) == (-1, -1, row, row)


def test_a_row_states_which_of_its_texts_are_not_whole() -> None:
    """A rule can check whether there may be more than it sees."""
    processes, rows, _ = world()
    who = identity(10)
    processes.apply(replace(execution(who, "cat", "a"), args_truncated=True))
    process = rows.processes[rows.row(processes.resolve(who))]
    assert (process.is_args_truncated, process.is_env_truncated) == (True, False)

    processes.apply(replace(execution(identity(10, generation=2), "cat"), env_truncated=True))
    process = rows.processes[rows.row(processes.resolve(identity(10, generation=2)))]
    assert (process.is_args_truncated, process.is_env_truncated) == (False, True)


def test_ancestors_and_leaders_come_first() -> None:
    """A pipeline's leader is a sibling: it is written before the process that refers to it."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "bash"))
    for pid in (11, 12):
        processes.apply(fork(identity(10), pid))
        processes.apply(execution(identity(pid, generation=2), f"p{pid}", ppid=10, pgid=11, sid=10))

    row = rows.row(processes.resolve(identity(12, generation=2)))

    assert [each.name for each in rows.processes] == ["bash", "p11", "p12"]
    process = rows.processes[row]
    assert (process.parent, process.session_leader, process.group_leader) == (0, 0, 1)
    assert_order(rows)


def test_a_leader_that_descends_from_the_process_is_left_out() -> None:
    """The order of rows can't express it; the field is missing then."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "bash"))
    processes.apply(fork(identity(10), 11))
    processes.apply(state(identity(11), pgid=11, sid=10, ppid=10))
    processes.apply(state(identity(10), pgid=11, sid=10))

    rows.row(processes.resolve(identity(11)))

    assert (rows.processes[0].pid, rows.processes[0].group_leader) == (10, -1)
    assert_order(rows)


def test_a_change_gives_later_events_a_new_row_and_leaves_the_old() -> None:
    """A parent's exec in mid-batch shows in its children's rows from then on."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "bash"))
    processes.apply(fork(identity(10), 11))
    before = rows.row(processes.resolve(identity(11)))

    processes.apply(execution(identity(10, generation=2), "python"))
    after = rows.row(processes.resolve(identity(11)))

    assert before != after
    assert rows.processes[rows.processes[before].parent].name == "bash"
    assert rows.processes[rows.processes[after].parent].name == "python"
    assert_order(rows)


def test_a_leader_s_exec_shows_in_the_rows_of_its_group() -> None:
    """The first program of a pipeline may start after the second has made an event."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "bash"))
    for pid in (11, 12):
        processes.apply(fork(identity(10), pid))
        processes.apply(state(identity(pid), ppid=10, pgid=11, sid=10))
    rows.row(processes.resolve(identity(12)))

    processes.apply(execution(identity(11, generation=2), "first", ppid=10, pgid=11, sid=10))

    process = rows.processes[rows.row(processes.resolve(identity(12)))]
    assert rows.processes[process.group_leader].name == "first"


def test_an_exec_of_a_plain_child_leaves_all_other_rows_valid() -> None:
    """Nothing refers to it, so no row needs a check."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "bash"))
    processes.apply(fork(identity(10), 11))
    before = processes.changes
    first = rows.row(processes.resolve(identity(11)))

    processes.apply(execution(identity(11, generation=2), "cat", ppid=10, pgid=10, sid=10))

    assert processes.changes == before
    assert rows.row(processes.resolve(identity(11, generation=2))) != first


def test_a_change_elsewhere_gives_no_new_row() -> None:
    """Only changes of what a row contains or refers to add a row."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "bash"))
    processes.apply(execution(identity(20), "other"))
    row = rows.row(processes.resolve(identity(10)))

    processes.apply(execution(identity(20, generation=2), "another"))

    assert rows.row(processes.resolve(identity(10))) == row
    assert len(rows.processes) == 1


def test_a_container_s_facts_replace_what_was_known() -> None:
    """Events before the runtime's response keep their row; later ones get the name."""
    processes, rows, facts = world()
    who = identity(10, cgroup=CONTAINER_CGROUP)
    processes.apply(execution(who, "sh"))
    before = rows.row(processes.resolve(who))
    assert rows.containers[rows.processes[before].container].name is None

    facts.known[CONTAINER_ID] = replace(facts.known[CONTAINER_ID], name="web")
    facts.version += 1
    after = rows.row(processes.resolve(who))

    assert before != after
    assert rows.containers[rows.processes[after].container].name == "web"
    assert rows.containers[rows.processes[before].container].name is None


def test_a_container_s_files_are_reached_through_its_oldest_process() -> None:
    """The youngest may have changed its root."""
    processes, rows, _ = world()
    init = identity(10, cgroup=CONTAINER_CGROUP)
    processes.apply(execution(init, "sh"))
    processes.apply(fork(init, 11))

    row = rows.row(processes.resolve(identity(11, cgroup=CONTAINER_CGROUP)))

    assert rows.processes[row].user == "u0@3d0(10, 11)"


def test_an_event_that_has_to_wait_has_its_users_read_at_once() -> None:
    """When its row is written, the process may be gone, and with it the path to its files."""

    class CountedNames(NamesByRule):
        def __init__(self) -> None:
            self.by: list[tuple[ContainerName | None, tuple[int, ...]]] = []

        def names(
            self,
            uid: int,
            gid: int | None,
            loginuid: int | None,
            container: ContainerName | None,
            pids: tuple[int, ...],
        ) -> Names:
            self.by.append((container, pids))
            return super().names(uid, gid, loginuid, container, pids)

    processes, names = ProcessTable(Proc(), EPOCH), CountedNames()
    rows = ProcessRows(processes, names, Facts())
    who = identity(10, cgroup=CONTAINER_CGROUP)
    processes.apply(execution(who, "sh"))
    processes.apply(execution(identity(20), "bash"))

    rows.prepare(processes.resolve(who))
    rows.prepare(processes.resolve(identity(20)))

    assert names.by == [(container_of(CONTAINER_PATH), (10,))]
    assert rows.processes == []


def test_each_batch_begins_empty() -> None:
    """Row numbers start over, and tables already taken stay unchanged."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "a"))
    processes.apply(execution(identity(20), "b"))
    rows.row(processes.resolve(identity(10)))
    first, _ = rows.take()

    assert rows.row(processes.resolve(identity(20))) == 0
    assert [each.name for each in first] == ["a"]
    assert [each.name for each in rows.processes] == ["b"]


def test_a_stale_process_has_a_row_of_what_is_certain() -> None:
    """A rule that reads its name gets nothing; one that reads its pid gets the truth."""
    processes, rows, _ = world()

    process = rows.processes[rows.row(processes.resolve(identity(10, uid=5)))]

    assert (process.pid, process.uid, process.user, process.name, process.ppid) == (10, 5, "u5@host", None, None)
    assert (process.session_leader, process.group_leader, process.parent) == (-1, -1, -1)


def test_a_thread_s_view_points_to_its_own_leaders() -> None:
    """A leader seen under another user is still its own leader."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "smbd"))
    processes.apply(state(identity(10, tid=12, uid=5), comm="smbd"))

    main, other = (rows.row(processes.resolve(identity(10, uid=uid))) for uid in (0, 5))

    assert main != other
    assert [rows.processes[each].uid for each in (main, other)] == [0, 5]
    assert rows.processes[other].session_leader == other


def test_a_frozen_process_is_written_as_it_was() -> None:
    """An event that waited for its container's facts has the program of its time."""
    processes, rows, _ = world()
    processes.apply(execution(identity(10), "sh"))
    processes.apply(fork(identity(10), 11))
    frozen = processes.frozen(processes.resolve(identity(11)))
    processes.apply(execution(identity(11, generation=2), "cat", ppid=10))
    processes.apply(exit_of(identity(11, time=99_000, generation=2)))

    process = rows.processes[rows.row(frozen)]

    assert (process.name, process.session_leader) == ("sh", 0)
    assert_order(rows)


def nested(depth: int, *arguments: str) -> tuple[ProcessTable, ProcessRows]:
    """Return processes from pid 100 on, each the child of the one before, and each with arguments of its own."""
    processes, rows, _ = world()
    for pid in range(100, 100 + depth):
        if pid > 100:
            processes.apply(fork(identity(pid - 1, generation=2), pid))
        own = [f"{pid}{argument}" for argument in arguments]
        parent = pid - 1 if pid > 100 else 1
        processes.apply(execution(identity(pid, generation=2), f"p{pid}", *own, ppid=parent))
    return processes, rows


def line_of(rows: ProcessRows, row: int) -> list[Process]:
    """Return a row and its ancestors."""
    line = [rows.processes[row]]
    while line[-1].parent >= 0:
        line.append(rows.processes[line[-1].parent])
    return line


def test_of_many_ancestors_the_nearest_and_the_farthest_are_written() -> None:
    """A row between them shows how many are missing; a service can't hide behind a thousand processes."""
    processes, rows = nested(1000)

    row = rows.row(processes.resolve(identity(1099, generation=2)))

    names = [process.name for process in line_of(rows, row)]
    near, far = [f"p{1099 - level}" for level in range(49)], [f"p{pid}" for pid in range(115, 99, -1)]
    assert names == [*near, "[truncated, 935 more ancestors]", *far]
    assert len(rows.processes) == len(names)
    assert_order(rows)


def test_each_process_has_its_own_nearest_ancestors() -> None:
    """Also if a row of it was the last one before the gap of another lineage."""
    processes, rows = nested(1000)
    for pid in (1099, 1099 - 48, 1099 - 40, 500, 1090, 101):
        line = line_of(rows, rows.row(processes.resolve(identity(pid, generation=2))))
        assert [process.pid for process in line[:13]] == [max(each, 0) for each in range(pid, pid - 13, -1)][
            : len(line)
        ]
    assert_order(rows)


def test_what_one_event_adds_is_bounded_in_bytes() -> None:
    """The texts of the process and its next ancestors are complete; those farther up are clipped and marked."""
    processes, rows = nested(1000, "A" * 4000, "B" * 4000)

    row = rows.row(processes.resolve(identity(1099, generation=2)))

    line = line_of(rows, row)
    whole = [process for process in line if process.name != "[truncated, 935 more ancestors]"]
    lengths = [len(" ".join(process.args or ())) for process in whole]
    assert lengths[:13] == [2 * 4004 + 1] * 13
    assert max(lengths[40:]) <= 128
    assert whole[-1].args is not None
    assert whole[-1].args[0].endswith("more bytes]")
    assert (whole[0].is_args_truncated, whole[-1].is_args_truncated) == (False, True)
    assert rows.size < 400_000
    assert line_of(rows, rows.row(processes.resolve(identity(100, generation=2))))[0].args == (
        "100" + "A" * 4000,
        "100" + "B" * 4000,
    )


def test_the_size_is_about_what_a_batch_takes() -> None:
    """A text shared by several rows counts once."""
    processes, rows = nested(60, "ü" * 1000)
    for pid in range(100, 160):
        rows.row(processes.resolve(identity(pid, generation=2)))
    size = rows.size
    taken, _ = rows.take()
    encoded = len(encode_batch(batch_of({"type": "openat"}, processes=taken)))
    assert 0.8 * encoded < size < 1.3 * encoded
    assert rows.size == 0


def test_leaders_of_many_ancestors_are_bounded_too() -> None:
    """Each ancestor may have a group leader elsewhere, with ancestors and leaders of its own."""
    processes, rows, _ = world()
    for group in range(1000, 3000):
        processes.apply(execution(identity(group), "leader", "B" * 4000, pgid=group, ppid=1))
        processes.apply(state(identity(group), pgid=group, sid=1000 + (group * 7) % 2000, ppid=1))
    for pid in range(100, 600):
        if pid > 100:
            processes.apply(fork(identity(pid - 1, generation=2), pid))
        facts = {"ppid": pid - 1 if pid > 100 else 1, "pgid": 1000 + pid, "sid": 2000 + pid}
        processes.apply(execution(identity(pid, generation=2), "x", f"{pid}", **facts))

    row = rows.row(processes.resolve(identity(599, generation=2)))

    assert len(rows.processes) < 250
    assert rows.size < 400_000
    assert rows.processes[row].pid == 599
    assert_order(rows)


def test_leaders_that_have_ended_cost_no_walk_over_the_lineage_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line may be of one session whose leader is gone, so that the eldest of each process's ancestors counts."""
    processes, rows = nested(1000)
    entry = processes.resolve(identity(1099, generation=2))
    for each in (entry, *ancestors(entry)):
        each.context = replace(each.context, sid=7, pgid=7)
    steps = 0

    def counted(of: TrackedProcess) -> Iterator[TrackedProcess]:
        nonlocal steps
        for each in ancestors(of):
            steps += 1
            yield each

    for module in ("rows", "relatives"):
        monkeypatch.setattr(f"collector.processes.{module}.ancestors", counted)
    rows.row(entry)
    assert steps < 50_000
    assert_order(rows)


def test_acts_of_a_whole_line_in_turn_write_few_rows() -> None:
    """A row with enough ancestors above it serves for the rows below it."""
    processes, rows = nested(500)
    for pid in range(100, 600):
        rows.row(processes.resolve(identity(pid, generation=2)))
    assert len(rows.processes) == 500
    rows.take()
    for pid in range(599, 99, -1):
        rows.row(processes.resolve(identity(pid, generation=2)))
    assert len(rows.processes) < 2500


def assert_order(rows: ProcessRows) -> None:
    """Check the schema's rules for rows that refer to others."""
    for number, process in enumerate(rows.processes):
        assert -1 <= process.parent < number
        assert -1 <= process.session_leader <= number
        assert -1 <= process.group_leader <= number
        assert -1 <= process.container < len(rows.containers)
