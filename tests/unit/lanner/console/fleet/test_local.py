import time

from lanner.console.fleet.local import LocalHost
from schemas.catalog.priorities import Priority
from tests.golden.batches import batch_0_1


def test_this_host_is_known_once_it_has_made_a_batch() -> None:
    """From the process itself, without a broker."""
    local = LocalHost(Priority.DEBUG)
    assert not local.hosts().read_at
    local.see(batch_0_1())
    known = local.hosts()
    (host,) = known.hosts
    assert host.name == batch_0_1().hostname
    assert abs(host.seen - time.time() * 1000) < 5000
    assert known.read_at >= host.seen
