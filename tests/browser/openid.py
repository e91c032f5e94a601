"""A real OpenID provider, node-oidc-provider, run by the browser driver's Node.js. npm fetches it once (4 MB)."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from playwright._impl._driver import compute_driver_executable

from tests.live.needs import lacking
from tests.ports import free_ports

SCRIPT = Path(__file__).with_suffix(".mjs")
PACKAGE = "oidc-provider@9.13.3"
SECRET = "made up, and long enough for HMAC &"


def installed() -> Path:
    """Return the folder with the provider; skip the test if it can't be fetched."""
    known = hashlib.sha256(PACKAGE.encode() + SCRIPT.read_bytes()).hexdigest()[:12]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lanner" / f"openid-{known}"
    if folder.exists():
        return folder
    if shutil.which("npm") is None:
        lacking("the OpenID provider needs npm once")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Into a temporary folder first, so that a parallel run never sees half of it.
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        fresh = Path(made) / "fresh"
        fresh.mkdir()
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(fresh), PACKAGE]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            lacking("npm could not fetch the OpenID provider")
        shutil.copy(SCRIPT, fresh)
        if not folder.exists():
            fresh.rename(folder)
    return folder


class OpenIdProvider:
    """Signs people in for one console."""

    def __init__(self, console: str, **client: Any) -> None:
        """Start it.

        Args:
            console: the console's address.
            client: settings of the console at the provider.
        """
        self.port = free_ports(1)[0]
        self.issuer = f"http://127.0.0.1:{self.port}"
        redirect = f"{console}/sign-in/oidc/callback"
        self._client = {"client_id": "lanner", "client_secret": SECRET, "redirect_uris": [redirect]} | client
        self.start()

    def start(self) -> None:
        """Start it with a new key, and without memory."""
        algorithms = {"idTokenSigningAlgValues": ["RS256", "HS256"]}
        options = json.dumps({"client": self._client, "enabledJWA": algorithms})
        command = [compute_driver_executable()[0], str(installed() / SCRIPT.name), str(self.port), options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.communicate()
