"""Real syslog daemons on loopback: rsyslog and syslog-ng, each writing what it understood as one JSON object a line."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.live.needs import lacking
from tests.live.notifier.certificates import Certificates
from tests.ports import free_port, free_ports

RSYSLOG = """\
global(maxMessageSize="64k" workDirectory="{folder}" defaultNetstreamDriver="ossl"
       defaultNetstreamDriverCAFile="{certificates.authority}"
       defaultNetstreamDriverCertFile="{certificates.server}" defaultNetstreamDriverKeyFile="{certificates.server_key}"
       parser.escapeControlCharactersOnReceive="off")
module(load="imudp")
module(load="imuxsock" sysSock.use="off")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/name"
       permittedPeer=["client.test"])
module(load="imptcp")
template(name="seen" type="list" option.jsonf="on") {{
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
input(type="imudp" address="127.0.0.1" port="{udp}")
input(type="imptcp" address="127.0.0.1" port="{tcp}")
input(type="imtcp" address="127.0.0.1" port="{tls}")
input(type="imuxsock" socket="{folder}/log" unlink="on" useSpecialParser="off" parseHostname="on"
  ignoreTimestamp="off" useSysTimeStamp="off")
action(type="omfile" file="{folder}/seen" template="seen" flushOnTXEnd="on")
"""
SYSLOG_NG = """\
@version: 3.38
options {{ keep-hostname(yes); stats-freq(0); log-msg-size(65536); }};
source all {{
  network(transport("udp") ip("127.0.0.1") port({udp}) flags(syslog-protocol));
  syslog(transport("tcp") ip("127.0.0.1") port({tcp}));
  syslog(transport("tls") ip("127.0.0.1") port({tls}) tls(
    cert-file("{certificates.server}") key-file("{certificates.server_key}")
    ca-file("{certificates.authority}") peer-verify(required-trusted)));
  unix-dgram("{folder}/log" flags(syslog-protocol));
}};
destination seen {{ file("{folder}/seen" template("$(format-json severity=$LEVEL facility=$FACILITY time=$S_ISODATE
  host=$HOST app=$PROGRAM msgid=$MSGID data=$SDATA text=$MESSAGE)\\n")); }};
log {{ source(all); destination(seen); }};
"""


class Daemon:
    """One daemon; it can be stopped, killed and started again over the same files and ports."""

    def __init__(
        self, folder: Path, certificates: Certificates, config: str, command: Callable[[Path], list[str]]
    ) -> None:
        self._folder = folder
        self.udp = free_port(socket.SOCK_DGRAM)
        self.tcp, self.tls = free_ports(2)
        self.unix = folder / "log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        ports = {"udp": self.udp, "tcp": self.tcp, "tls": self.tls}
        (folder / "conf").write_text(config.format(folder=folder, certificates=certificates, **ports))
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = subprocess.Popen(
            self._command(self._folder),
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "stderr").open("ab"),
            env=os.environ | self.environment,
        )
        until = time.monotonic() + 15
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            if {self.tcp, self.tls} <= listening_ports() and self.unix.exists():
                return
            time.sleep(0.05)
        raise AssertionError((self._folder / "stderr").read_text())

    def stop(self, *, kill: bool = False) -> None:
        """End it, in good order or not."""
        if self._process is not None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait(15)
            self._process = None
            # pytest shows it where the test failed.
            sys.stderr.write((self._folder / "stderr").read_text())

    def seen(self, count: int, seconds: float = 10) -> list[dict[str, Any]]:
        """Return the messages, once there are so many or time is up."""
        path = self._folder / "seen"
        until = time.monotonic() + seconds
        lines: list[str] = []
        while time.monotonic() < until:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            if len(lines) >= count:
                break
            time.sleep(0.05)
        return [json.loads(line) for line in lines if line]


def rsyslog(folder: Path, certificates: Certificates) -> Daemon:
    """Return an rsyslog that is not started."""
    if shutil.which("rsyslogd") is None or not Path("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_ossl.so").exists():
        lacking("rsyslog and rsyslog-openssl are not installed")
    return Daemon(
        folder, certificates, RSYSLOG, lambda at: ["rsyslogd", "-n", "-f", str(at / "conf"), "-i", str(at / "pid")]
    )


def syslog_ng(folder: Path, certificates: Certificates, root: Path) -> Daemon:
    """Return a syslog-ng that is not started; root: where it was unpacked."""
    modules = root / "usr/lib/syslog-ng"
    program = str(root / "usr/sbin/syslog-ng")
    made = Daemon(
        folder,
        certificates,
        SYSLOG_NG,
        lambda at: [
            *(program, "-F", "-e", "--no-caps", f"--module-path={modules}/3.38", f"--cfgfile={at}/conf"),
            *(f"--persist-file={at}/persist", f"--pidfile={at}/pid", f"--control={at}/control"),
        ],
    )
    made.environment = {"LD_LIBRARY_PATH": str(modules)}
    return made


def unpack_syslog_ng(root: Path) -> Path:
    """Unpack syslog-ng beside rsyslog, since apt lets only one of them in."""
    got = subprocess.run(["apt-get", "download", "-q", "syslog-ng-core"], cwd=root, check=False, capture_output=True)
    packages = list(root.glob("*.deb"))
    if got.returncode != 0 or not packages:
        lacking("the package syslog-ng-core can't be fetched")
    subprocess.run(["dpkg", "-x", packages[0], root], check=True)
    return root


def listening_ports() -> set[int]:
    """Return the TCP ports that something listens on.

    A connection that only asks would be the daemon's first, and its abrupt end an error.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
