"""The actions, in the order of the built-in rules."""

from lanner.demo.act import DemoAction
from lanner.demo.container_acts import CONTAINER_ACTS
from lanner.demo.host_acts import HOST_ACTS

ACTS: tuple[DemoAction, ...] = (*HOST_ACTS, *CONTAINER_ACTS)
