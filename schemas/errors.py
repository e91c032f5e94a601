"""The root of Lanner's exceptions."""


class LannerError(Exception):
    """Base class of every exception that Lanner defines, so that one clause catches them all."""
