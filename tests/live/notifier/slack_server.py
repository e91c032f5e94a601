"""A stand-in for Slack on loopback: it speaks the real API as far as a client can tell, and fails on demand."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = Literal["429", "500", "hang", "close", "garbage", "not_ok", "revoked", "invalid_blocks", "no_channel", "gone"]


class SlackServer:
    """Keeps what was posted; the next requests meet the faults that are set."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.posted: list[dict[str, Any]] = []
        self.edited: list[dict[str, Any]] = []
        self.clock: Callable[[], float] = time.monotonic
        self.requests: list[tuple[str, float]] = []
        """To which channel each request went, and when."""
        self.faults: list[Fault] = []
        self.fail_channel: str | None = None
        """A channel whose messages fail."""
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002
                return

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def webhook(self) -> str:
        """The address of an incoming webhook."""
        return f"http://{self._host}:{self.port}/services/T0/B0/made-up-secret"

    @property
    def api(self) -> str:
        """The address of the Web API."""
        return f"http://{self._host}:{self.port}/api/"

    def close(self) -> None:
        """Stop, and let go of requests that hang."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        self.requests.append((body.get("channel", ""), self.clock()))
        is_api = request.path.startswith("/api/")
        fault = self.faults.pop(0) if self.faults else None
        if body.get("channel") == self.fail_channel is not None:
            fault = "500"
        if fault == "hang":
            self.released.wait(60)
            return
        if fault == "close":
            request.close_connection = True
            request.connection.close()
            return
        if fault == "429":
            self._reply(request, 429, json.dumps({"ok": False, "error": "ratelimited"}), {"Retry-After": "7"})
        elif fault == "500":
            self._reply(request, 500, "server_error")
        elif fault == "garbage":
            self._reply(request, 200 if is_api else 502, "<html>a proxy speaks</html>")
        elif fault is not None:
            word = {
                "not_ok": "fatal_error",
                "revoked": "token_revoked",
                "no_channel": "channel_not_found",
                "gone": "thread_not_found",
            }
            error = word.get(fault, fault)
            if is_api:
                self._reply(request, 200, json.dumps({"ok": False, "error": error}))
            else:
                self._reply(request, 400 if fault == "invalid_blocks" else 403, error)
        elif is_api and request.headers["Authorization"] != "Bearer made-up-token":
            self._reply(request, 200, json.dumps({"ok": False, "error": "invalid_auth"}))
        elif request.path == "/api/chat.update":
            self.edited.append(body)
            self._reply(request, 200, json.dumps({"ok": True, "channel": body["channel"], "ts": body["ts"]}))
        else:
            self.posted.append(body)
            at = f"1700000000.{len(self.posted):06d}"
            self._reply(request, 200, json.dumps({"ok": True, "channel": "C0123", "ts": at}) if is_api else "ok")

    @staticmethod
    def _reply(request: BaseHTTPRequestHandler, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        data = body.encode()
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            request.send_header(name, value)
        kind = "application/json" if body.startswith("{") else "text/html"
        request.send_header("Content-Type", kind)
        request.end_headers()
        request.wfile.write(data)
