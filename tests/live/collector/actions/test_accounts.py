"""Locking of accounts by the real usermod, in files of the tests' own, and the end of real processes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.actions import accounts
from collector.actions.accounts import AccountLock
from collector.actions.effect import ActionRefused, TargetGone
from schemas.action import ActionIntent
from tests.live.collector.actions.container import container, intent

UID = 54_321
SHADOW = (
    "root:$6$r:19000:0:99999:7:::\nann:$6$a:19000:0:99999:7::20600:\nempty::19000::::::\nlocked:!$6$l:19000::::::\n"
    "star:*:19000::::::\n-R:$6$d:1::::::\nbob:$6$b:1::::::\nsys:*:1::::::\n"
)
PASSWD = (
    f"root:x:0:0::/root:/bin/sh\nann:x:{UID}:{UID}::/:/bin/sh\nempty:x:54322:1::/:/bin/sh\nlocked:x:54323:1::/:/bin/sh\n"
    "star:x:54324:1::/:/bin/sh\n-R:x:54325:1::/:/bin/sh\nbob:x:54326:1::/:/bin/sh\nbill:x:54326:1::/:/bin/sh\n"
    "sys:x:77:1::/:/bin/sh\nnobody:x:65534:1::/:/bin/sh\n"
)


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make usermod change files of the test's own."""
    folder = tmp_path / "etc"
    folder.mkdir()
    for name, text in (
        ("passwd", PASSWD),
        ("shadow", SHADOW),
        ("group", "root:x:0:\n"),
        ("login.defs", "UID_MIN 1000"),
    ):
        (folder / name).write_text(text)
    (folder / "shadow").chmod(0o640)
    program = tmp_path / "usermod"
    program.write_text(f'#!/bin/sh\nexec /usr/sbin/usermod --prefix {tmp_path} "$@"\n')
    program.chmod(0o755)
    for name in ("passwd", "shadow", "login.defs"):
        monkeypatch.setattr(accounts, name.upper().replace(".", "_"), str(folder / name))
    monkeypatch.setattr(accounts, "USERMOD", (program,))
    return folder


@pytest.fixture
def sessions() -> Iterator["list[subprocess.Popen[bytes]]"]:
    """Start processes of ann: as herself, as root in a session of hers, in a container, and of somebody else."""
    loginuid = f"echo {UID} > /proc/self/loginuid; exec sleep 60"
    with container() as one:
        (as_ann, as_other) = (("setpriv", f"--reuid={uid}", "--clear-groups") for uid in (UID, UID + 1))
        joined = f"echo 0 > {one.cgroup}/cgroup.procs; exec setpriv --reuid={UID} sleep 60"
        started = [
            subprocess.Popen(each)
            for each in (
                (*as_ann, "sleep", "60"),
                ("sh", "-c", loginuid),
                ("sh", "-c", joined),
                (*as_other, "sleep", "60"),
            )
        ]
        subprocess.run(("sleep", "0.2"), check=True)
        yield started
        for each in started:
            each.kill()
            each.wait()


def lock(user: str, uid: int) -> ActionIntent:
    """Return the intent to lock an account."""
    return intent("lock", "user", user=user, uid=uid)


def test_an_account_is_locked_with_its_sessions_and_restored_exactly(
    etc: Path, sessions: "list[subprocess.Popen[bytes]]"
) -> None:
    """A process of the same id in a container is another user's."""
    herself, as_root, inside, other = sessions
    actions, what = AccountLock(), lock("ann", UID)

    effect = actions.do(what)

    assert effect.text == "locked the account ann and ended 2 processes of it"
    assert "ann:!$6$a:19000:0:99999:7::1:\n" in (etc / "shadow").read_text()
    assert (herself.wait(5), as_root.wait(5)) == (-9, -9)
    assert (inside.poll(), other.poll()) == (None, None)

    assert actions.undo(what, effect.undo) == "unlocked the account ann"
    assert actions.undo(what, effect.undo) == "the account was unlocked already"
    assert (etc / "shadow").read_text() == SHADOW


@pytest.mark.parametrize(("user", "uid"), [("empty", 54_322), ("locked", 54_323), ("star", 54_324)])
def test_the_recorded_command_restores_any_account(etc: Path, user: str, uid: int) -> None:
    """It runs without any of our code; a password that was locked before stays so, and none stays none."""
    what = lock(user, uid)
    effect = AccountLock().do(what)
    assert f"{user}:" in (etc / "shadow").read_text()
    assert (etc / "shadow").read_text() != SHADOW
    with pytest.raises(ActionRefused, match="is locked already"):
        AccountLock().do(what)
    command = effect.undo["command"]
    assert isinstance(command, list)
    subprocess.run(command, check=True, env={})
    assert (etc / "shadow").read_text() == SHADOW


def test_what_somebody_changed_in_the_meantime_stays(etc: Path) -> None:
    """A new password needs no unlocking, and another expiry is a decision."""
    what = lock("ann", UID)
    effect = AccountLock().do(what)
    shadow = (etc / "shadow").read_text().replace("!$6$a", "$6$new").replace("::1:", "::2:")
    (etc / "shadow").write_text(shadow)
    assert AccountLock().undo(what, effect.undo) == "the account was unlocked already"
    assert (etc / "shadow").read_text() == shadow
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    with pytest.raises(TargetGone, match="no account ann"):
        AccountLock().undo(what, effect.undo)


@pytest.mark.parametrize(
    ("user", "uid", "reason"),
    [
        ("root", 0, "root can't be locked"),
        ("sys", 77, "77 is that of a system account"),
        ("nobody", 65_534, "is that of a system account"),
        ("ann", UID + 1, f"the account ann has the user id {UID}, not {UID + 1}"),
        ("bob", 54_326, "the account bill has the same user id"),
        ("eve", 7777, "has no account eve; it may come from a directory service"),
        ("-R", 54_325, "usermod would take -R for an option"),
        ("--prefix=/tmp", 7777, "usermod would take --prefix=/tmp for an option"),
        ("ann;id", UID, "has no account ann;id"),
        ("x\nann", UID, r"has no account x\\nann"),
        ("ann:x", UID, "has no account ann:x"),
    ],
)
def test_what_isnt_an_account_of_a_person_is_refused(etc: Path, user: str, uid: int, reason: str) -> None:
    """Nothing is changed, and a name is never an option of usermod."""
    with pytest.raises(ActionRefused, match=reason):
        AccountLock().do(lock(user, uid))
    assert (etc / "shadow").read_text() == SHADOW


def test_an_account_that_runs_lanner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the process that has to unlock it."""
    monkeypatch.setattr(accounts, "_belongs", lambda process, uid: uid == UID and process.pid > 1)
    with pytest.raises(ActionRefused, match="Lanner itself was started in a session of this user"):
        AccountLock().do(lock("ann", UID))


def test_a_usermod_that_fails_is_stated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, etc: Path) -> None:
    """It states a reason, or it isn't installed."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'usermod: cannot lock /etc/passwd; try again later.' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(accounts, "USERMOD", (broken,))
    with pytest.raises(OSError, match=r"usermod failed: usermod: cannot lock /etc/passwd; try again later\."):
        AccountLock().do(lock("ann", UID))
    monkeypatch.setattr(accounts, "USERMOD", (tmp_path / "none",))
    with pytest.raises(ActionRefused, match="usermod isn't installed"):
        AccountLock().do(lock("ann", UID))
    assert (etc / "shadow").read_text() == SHADOW
