"""A real schema registry as a child process."""

import base64
import http.client
import http.server
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.ports import free_ports

SCRIPT = Path(__file__).parents[2] / "deploy" / "kafka" / "registry.sh"
START_SECONDS = 120


class Guard:
    """A reverse proxy for a registry, with TLS and HTTP basic authentication."""

    def __init__(self, port: int, pem: Path, user: str, password: str) -> None:
        expected = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                if self.headers.get("Authorization") != expected:
                    self.send_error(401)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                behind = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                kind = self.headers.get("Content-Type", "application/json")
                behind.request(self.command, self.path, body or None, {"Content-Type": kind})
                answer = behind.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = handle_any  # noqa: N815  the server's names

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/apis/ccompat/v7"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


class SchemaRegistry:
    """One registry, which stores nothing beyond its end."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._log = folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of Confluent's API."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def begin(self) -> None:
        """Start the registry; it is ready some seconds later."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [SCRIPT, str(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        """Wait until the registry is ready."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/subjects", timeout=5).close()
            except (urllib.error.URLError, OSError):
                assert self._process is not None
                assert self._process.poll() is None, self._log.read_text()[-3000:]
                assert time.monotonic() < deadline, self._log.read_text()[-3000:]
                time.sleep(0.2)
            else:
                return

    def pause(self) -> None:
        """Suspend the process: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the process."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
