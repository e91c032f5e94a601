import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from collector.kubernetes.api import ApiServer, BadCredentials, ListOptions, RequestFailed, credentials
from collector.kubernetes.objects import RESOURCES
from tests.kubernetes_api import PATHS, KubernetesApi


def kubeconfig(folder: Path, text: str) -> str:
    """Write a kubeconfig; return its path."""
    path = folder / "kubeconfig"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "a: [s3cr3t", "current-context: x", '{"current-context": "c", "clusters": "s3cr3t", "contexts": []}'],
)
def test_a_bad_kubeconfig_is_refused_without_its_content(tmp_path: Path, text: str) -> None:
    """It holds secrets, which an error must not quote."""
    with pytest.raises(BadCredentials) as found:
        credentials(kubeconfig(tmp_path, text))
    assert "s3cr3t" not in str(found.value)
    assert str(tmp_path) in str(found.value)


def test_a_missing_kubeconfig_or_service_account_is_refused(tmp_path: Path) -> None:
    """The error names the origin."""
    with pytest.raises(BadCredentials, match="nothing"):
        credentials(str(tmp_path / "nothing"))
    with pytest.raises(BadCredentials, match="service account"):
        credentials(None)


def request(server: ApiServer) -> Any:
    """Read a page of pods."""

    async def read() -> Any:
        try:
            return await server.page(RESOURCES["pods"], ListOptions(10), "")
        finally:
            await server.close()

    return asyncio.run(read())


def test_failures_have_their_code_and_no_secret(tmp_path: Path) -> None:
    """Rejected, unreachable, and not an API server."""
    with KubernetesApi() as api:
        config = json.loads(api.kubeconfig(tmp_path).read_text())
        config["users"][0]["user"]["token"] = "wrong-s3cr3t"
        server = ApiServer(credentials(kubeconfig(tmp_path, json.dumps(config))))
        with pytest.raises(RequestFailed, match="401: Unauthorized") as refused:
            request(server)
        good = str(api.kubeconfig(tmp_path))
        api.failures[PATHS["Pod"]] = [429]
        with pytest.raises(RequestFailed, match="429"):
            request(ApiServer(credentials(good)))
    with pytest.raises(RequestFailed) as lost:
        request(ApiServer(credentials(good)))
    assert refused.value.failure.code == 401
    assert lost.value.failure.reason == "lost"
    assert "s3cr3t" not in f"{refused.value}{lost.value}{refused.value.failure!r}{lost.value.failure!r}"
