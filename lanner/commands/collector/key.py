"""`lanner collector key`: prints what an operator needs to enroll this host."""

import json
import sys

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from schemas.text.printable import printable


@front_command("key", example="sudo lanner collector key", without=NO_RULES)
def command(options: Options) -> None:
    """Print this host's id and its public key, as `lanner hosts enroll` takes them.

    Creates the key if there is none, so a host can be enrolled before its collector first starts. The private key stays
    in its file (collector.key_file).
    """
    from collector.host.facts import this_host
    from lanner.wiring.hosts.identity import signing_identity

    settings = options.settings()
    identity = signing_identity(settings, this_host(settings.host.id or "", settings.host.name or ""))
    public = identity.key.public_key.hex()
    if settings.json_output:
        record = {"host_id": identity.host_id, "hostname": identity.hostname, "public_key": public}
        sys.stdout.write(json.dumps(record) + "\n")
    else:
        sys.stdout.write(f"{printable(identity.host_id)} {public}\n")
        if not options.quiet:
            note("to enroll this host, run: lanner hosts enroll ID KEY")
