import pytest

from processor.compiler.batch import compile_rules
from processor.compiler.operators import predicate
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.language.parser import parse
from schemas.batch import Process
from tests.unit.processor.batches import batch_of

VALUES = ("/bin/sh", "/bin", "bin", "", "sh/bin", "/usr/bin/sh", "\udcff/sh")
WORDS = (("/bin", "/sh"), ("sh",), ("/bin", "zz"), ("h", "sh", "bin/sh"))


@pytest.mark.parametrize("operator", ["contains", "startswith", "endswith"])
@pytest.mark.parametrize("modifier", ["anyof", "allof", "oneof"])
@pytest.mark.parametrize("words", WORDS)
def test_the_code_for_several_words_agrees_with_the_operators_function(
    operator: str, modifier: str, words: tuple[str, ...]
) -> None:
    """What is inlined for speed is true for the same values."""
    slow = predicate(operator, "CHARBUF", words, modifier)  # type: ignore[arg-type]
    compiled = compile_rules([parse(f"proc.name {operator} {modifier} ({', '.join(words)})")])
    processes = [Process(pid=number, name=value) for number, value in enumerate(VALUES, 2)]
    batch = batch_of(*({"type": "execve", "process": row} for row in range(len(VALUES))), processes=processes)
    found = {index for index, _ in BatchView(batch).hits(compiled, lambda *_: None, Budget(BOUNDLESS))}
    assert found == {index for index, value in enumerate(VALUES) if slow(value)}


@pytest.mark.parametrize("modifier", ["anyof", "allof", "oneof"])
def test_a_missing_field_contains_no_word(modifier: str) -> None:
    """With any modifier, the comparison is false."""
    compiled = compile_rules([parse(f"proc.exepath contains {modifier} (a, b)")])
    batch = batch_of({"type": "execve"}, processes=[Process(pid=2)])
    assert not list(BatchView(batch).hits(compiled, lambda *_: None, Budget(BOUNDLESS)))


def test_what_several_rules_make_of_a_process_is_computed_once_for_it() -> None:
    """Also if it is missing or empty, and for each process of the batch."""
    conditions = (
        "tolower(proc.exeline) contains sh",
        "tolower(proc.exeline) = bash",
        "not tolower(proc.exeline) exists",
    )
    compiled = compile_rules([parse(each) for each in conditions])
    processes = [
        Process(pid=2, exe="SH", args=("-c",)),
        Process(pid=3, exe="Bash"),
        Process(pid=4, exe="", args=()),
        Process(pid=5),
    ]
    batch = batch_of(*({"type": "execve", "process": row} for row in (0, 1, 2, 3, 1, 0)), processes=processes)
    found = list(BatchView(batch).hits(compiled, lambda *_: None, Budget(BOUNDLESS)))
    assert [(index, [rule for rule, _ in hits]) for index, hits in found] == [
        (0, [0]),
        (1, [0, 1]),
        (3, [2]),
        (4, [0, 1]),
        (5, [0]),
    ]
    assert compiled.matchers["execve"].source.count("executed_line(q)") == 1


@pytest.mark.parametrize("side", ["tolower(fd.name)", "basename(tolower(fd.name))"])
def test_file_names_without_case_exclude_rules(side: str) -> None:
    """Whether a rule can match a name is computed once for it."""
    compiled = compile_rules([parse(f"evt.type = openat and {side} endswith passwd")])
    assert "def name_mask" in compiled.matchers["openat"].source
    batch = batch_of(*({"type": "openat", "fd_name": name} for name in ("/etc/PASSWD", "/etc/group", "")))
    found = list(BatchView(batch).hits(compiled, lambda *_: None, Budget(BOUNDLESS)))
    assert [index for index, _ in found] == [0]


class _Clocks(Budget):
    """Counts how often the time begins again."""

    starts = 0

    def restart_clocks(self) -> None:
        """Count it."""
        super().restart_clocks()
        self.starts += 1


def test_rules_are_compiled_when_the_first_event_comes_that_they_are_about() -> None:
    """What no event needs costs no time and no memory, and the first message that needs it doesn't pay for it."""
    compiled = compile_rules([parse("evt.type = openat and fd.name = /a"), parse("evt.type = execve and fd.name = /a")])
    batch = batch_of({"type": "openat", "fd_name": "/a"}, {"type": "openat", "fd_name": "/b"})
    first, second = _Clocks(), _Clocks()
    for budget in (first, second):
        assert [index for index, _ in BatchView(batch).hits(compiled, lambda *_: None, budget)] == [0]
    assert [compiled.matchers[each].is_compiled for each in ("openat", "execve")] == [True, False]
    assert (first.starts, second.starts) == (2, 1)
