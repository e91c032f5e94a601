"""Server names in ClientHellos of real TLS clients: what the events of their calls have."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest

from processor.language.event_types import event_types
from processor.language.parser import parse
from processor.pushdown.derive import derive
from tests.live.collector.watching import Watching, watching

RULE = parse("tls.client.server_name exists")
CONNECT = """
import os, socket, ssl, sys
print(os.getpid())
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
"""
CLIENT = (
    CONNECT
    + """
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
c.minimum_version = c.maximum_version = ssl.TLSVersion[sys.argv[3]]
c.wrap_socket(s, server_hostname=sys.argv[2])
"""
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve TLS on a port of the loopback device."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            ),
            *("-subj", "/CN=example.org", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                try:
                    client.settimeout(5)
                    with context.wrap_socket(client, server_side=True) as secured:
                        secured.recv(1)
                except OSError:
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch what a rule about server names needs."""
    types = event_types(RULE)
    with watching(*types, pushdown_filter=derive([RULE], types)) as running:
        yield running


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_of_python_states_the_name_that_it_requests(watch: Watching, server: int, version: str) -> None:
    """OpenSSL's library, both versions."""
    pid = watch.python(CLIENT, str(server), f"{version.lower()}.Example.org", version)

    event = watch.one(proc__pid=pid)

    assert (event["tls.client.server_name"], event["evt.type"]) == (f"{version.lower()}.example.org", "write")
    assert (event["fd.sip"], event["fd.sport"]) == ("127.0.0.1", server)
