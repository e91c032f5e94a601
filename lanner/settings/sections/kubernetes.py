"""Settings of the service that reads the Kubernetes API server."""

from dataclasses import dataclass

from lanner.settings.about import about


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """What `lanner kubernetes` reads from the API server, and where processes elect the one that does."""

    kubeconfig: str | None = about(
        "File with the address of the API server and credentials; by default the service account of the pod. `run`\n"
        "reads the pods of its node only if this is set.",
        None,
    )
    context: str | None = about("Context of the kubeconfig; by default its current one.", None)
    lease_name: str = about("Name of the Lease that elects the one process that reads and writes.", "lanner-kubernetes")
    lease_namespace: str | None = about("Its namespace; by default that of the service account or context.", None)
    node_name: str | None = about("Name of this node, for `run`; by default $NODE_NAME, else the host name.", None)
    page_size: int = about("Objects per request while lists are read.", 500)
    deletion_delay_seconds: int = about(
        "How long the record of a deleted pod stays, so that late events still get its deployment.", 300
    )
