"""After a publication: takes the new macros of a version, and teaches them what retained events show."""

import sys

from bus.errors.unavailable import BusUnavailable
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, note
from lanner.known_state.fleet import FleetState, learn_from_topic, wait_until_supported
from lanner.known_state.learning import learning_macros
from lanner.settings import Settings
from lanner.wiring.kafka import reachable_connection
from processor.correlation.plan.split import Plan
from schemas.text.printable import printable


def learn_new_macros(settings: Settings, before: Plan | None, plan: Plan, version: str, *, quiet: bool) -> None:
    """Learn for the macros of type first_seen that are new or changed; what can't be learned now is reported.

    Args:
        settings: of this command.
        before: the plan of the previous version; None if there is none.
        plan: the plan of the published version.
        version: its name.
        quiet: report only problems.
    """
    known = set() if before is None else {macro.fingerprint for macro in learning_macros(before)}
    fresh = [macro for macro in learning_macros(plan) if macro.fingerprint not in known]
    if not fresh:
        return
    names = ", ".join(macro.name for macro in fresh)
    later = f"`lanner state learn` lets {names} learn from retained events later"
    status = StatusLine(sys.stderr, enabled=not quiet)
    connection = reachable_connection(settings)
    with Signals() as signals:
        try:
            wait_until_supported(connection, version, lambda: signals.stop)
            values, remarks = learn_from_topic(FleetState(connection), plan, fresh, lambda: signals.stop, status.show)
        except BusUnavailable as error:
            note(f"{error.reason}; {later}.", "warning")
            return
        finally:
            status.clear()
        if signals.stop:
            note(f"stopped early; {later}.", "warning")
        elif not quiet:
            note(f"{names}: learned {values:,} values from retained events.")
            for remark in remarks:
                note(f"not learned: {printable(remark)}.")
