"""What the tarball's program begins with."""

import os
import sys

# PyInstaller's loader points the dynamic linker at the libraries beside the program. They are loaded by now, and what
# the collector starts (Debian's Python with BCC) needs the system's own.
_before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if _before is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = _before
# A child that runs this program as well must have them found again.
os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"

if sys.argv[1:2] == ["evidence-gathering"]:
    # The process that reads what may block a reader permanently: see collector.actions.evidence.
    from collector.actions.gathering import main as gather

    sys.exit(gather(sys.argv[2:]))

if sys.argv[1:2] == ["look-up-server"]:
    # The collector's own process for what may keep its reader waiting: see collector.procfs.look_ups.
    from collector.procfs.look_up_server import main as serve

    sys.exit(serve(sys.argv[2:]))

if sys.argv[1:2] == ["python-rule-file"]:
    # The process of the functions of one Python rule file: see processor.python.process.
    from processor.python.server import main as run

    sys.exit(run(sys.argv[2:]))

if sys.argv[1:2] == ["lease-keeper"]:
    # The process that undoes an action at the end of its lease: see collector.actions.keeper.
    from collector.actions.keeper import main as wait_and_undo

    sys.exit(wait_and_undo(sys.argv[2:]))

from lanner.__main__ import main  # noqa: E402  (what it imports may start programs)

sys.exit(main())
