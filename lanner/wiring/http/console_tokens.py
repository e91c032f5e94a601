"""Where the tokens of a console are: its own file, and the one that the settings name."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from lanner.console.people.accounts import Accounts
from lanner.console.people.listed import ListedToken, read_listed
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.faults import SettingFault
from notifier.queue.database import MODE, DatabaseUnusable

PEOPLE = "people.db"
"""File in console.state_dir."""


def open_accounts(settings: Settings, folder: Path | None = None) -> Accounts:
    """Open the tokens and sessions of this host's console. Raises BadInput."""
    folder = folder or Path(settings.console.state_dir)
    try:
        _give_to_owner(folder)
        return Accounts(folder / PEOPLE, settings.console.session_hours * 3600)
    except OSError as error:
        raise BadInput(f"console.state_dir: {folder}: {error.strerror or error}.") from None
    except DatabaseUnusable as error:
        raise BadInput(f"console.state_dir: {error}.") from None


def listed_tokens(file: str | None, problems: list[SettingFault]) -> Sequence[ListedToken]:
    """Return the tokens of a file; add errors to problems."""
    if not file:
        return ()
    try:
        return read_listed(Path(file).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        why = "not UTF-8"
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    problems.append(SettingFault("console.tokens_file", f"console.tokens_file: {file}: {why}."))
    return ()


def set_listed(accounts: Accounts, listed: Sequence[ListedToken]) -> None:
    """Make the tokens of a file valid, and end those that it doesn't have any longer. Raises BadInput and OSError."""
    try:
        accounts.set_listed(listed, int(time.time()))
    except ValueError as error:
        raise BadInput(f"console.tokens_file: {error}; `lanner console token list` shows all.") from None


def _give_to_owner(folder: Path) -> None:
    """Create the file, for root in the folder of a service's user, so that this user can open it. Raises OSError.

    SQLite gives the files beside it to the same owner.
    """
    file = folder / PEOPLE
    if os.geteuid() != 0 or not folder.is_dir() or file.exists():
        return
    owner = folder.stat()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
