"""A stand-in for receivers of webhooks on loopback: Splunk's collector and Alertmanager as far as a client can tell."""

import json
import re
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Speaks = str
"""`plain`, `splunk` or `alertmanager`."""


@dataclass(frozen=True, slots=True)
class Request:
    """What came in and was taken."""

    path: str
    headers: dict[str, str]
    body: bytes


class HttpServer:
    """Keeps what it took; the next requests meet the faults that are set: a status, `hang`, `drip`, ..."""

    def __init__(self, speaks: Speaks = "plain", *, context: ssl.SSLContext | None = None) -> None:
        self.speaks = speaks
        self.taken: list[Request] = []
        self.faults: list[str] = []
        self.retry_after: str | None = None
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                outer._answer(self)

            def do_CONNECT(self) -> None:
                outer.taken.append(Request(self.path, dict(self.headers), b""))
                self.send_error(403)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Stop, and let go of requests that hang."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if len(body) < int(request.headers["Content-Length"]):
            # The sender died in the middle.
            request.close_connection = True
            return
        fault = self.faults.pop(0) if self.faults else None
        if fault == "hang":
            self.released.wait(60)
        elif fault == "close":
            request.close_connection = True
            request.connection.close()
        elif fault == "drip":
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            with suppress(OSError):
                while not self.released.wait(0.1):
                    request.wfile.write(b"x")
        elif fault == "drip_head":
            with suppress(OSError):
                while not self.released.wait(0.1):
                    request.wfile.write(b"H")
        elif fault == "endless":
            request.send_response(200)
            request.end_headers()
            with suppress(OSError):
                while not self.released.is_set():
                    request.wfile.write(b"x" * 65536)
        elif fault == "redirect":
            self._reply(request, 302, "", {"Location": f"{self.url}/elsewhere"})
        elif fault is not None:
            status, _, said = fault.partition(" ")
            self._reply(request, int(status), said, {"Retry-After": self.retry_after} if self.retry_after else {})
        else:
            status, said = {"splunk": splunk, "alertmanager": alertmanager}.get(self.speaks, plain)(request, body)
            if status == 200:
                self.taken.append(Request(request.path, dict(request.headers), body))
            self._reply(request, status, said, {})

    @staticmethod
    def _reply(request: BaseHTTPRequestHandler, status: int, said: str, headers: dict[str, str]) -> None:
        data = said.encode()
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)


def plain(_: BaseHTTPRequestHandler, __: bytes) -> tuple[int, str]:
    """Take anything."""
    return 200, "ok"


def splunk(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str]:
    """Answer as the HTTP Event Collector does. Source: its documentation's table of codes."""

    def said(status: int, text: str, code: int, **more: int) -> tuple[int, str]:
        return status, json.dumps({"text": text, "code": code} | more)

    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not token:
        return said(401, "Token is required", 2)
    if scheme != "Splunk":
        return said(401, "Invalid authorization", 3)
    if token != "made-up-token":
        return said(403, "Invalid token", 4)
    decoder, text, number = json.JSONDecoder(), body.decode(), 0
    while text := text.lstrip():
        try:
            event, end = decoder.raw_decode(text)
        except ValueError:
            return said(400, "Invalid data format", 6, **{"invalid-event-number": number})
        if "event" not in event:
            return said(400, "Event field is required", 12, **{"invalid-event-number": number})
        if "poison" in json.dumps(event["event"]):
            return said(400, "Invalid data format", 6, **{"invalid-event-number": number})
        if event.get("index") not in (None, "security"):
            return said(400, "Incorrect index", 7, **{"invalid-event-number": number})
        float(event["time"])
        text, number = text[end:], number + 1
    return said(200, "Success", 0) if number else said(400, "No data", 5)


def alertmanager(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str]:
    """Answer as Alertmanager's API v2 does. Source: its openapi.yaml, and Alert.Validate of prometheus/common."""
    if request.path != "/api/v2/alerts":
        return 404, "404 page not found"
    if request.headers.get("Content-Type") != "application/json":
        return 415, json.dumps({"code": 415, "message": "unsupported media type"})
    wrong: list[str] = []
    for alert in json.loads(body):
        starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
        if ends < starts:
            wrong.append("start time must be before end time")
        if "alertname" not in alert["labels"] or any(not value for value in alert["labels"].values()):
            wrong.append("at least one label pair required")
        names = [*alert["labels"], *alert["annotations"]]
        wrong += [f"invalid name {name}" for name in names if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)]
        if ends.timestamp() < time.time():
            wrong.append("it would be resolved")
        if "poison" in alert["labels"]["alertname"]:
            wrong.append("poison")
    return (400, json.dumps("; ".join(wrong))) if wrong else (200, "")
