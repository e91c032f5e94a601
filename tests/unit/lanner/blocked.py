"""A program that runs, in one process, what must work without optional libraries; the libraries are its arguments."""

PROGRAM = '''
import sys
from collections.abc import Iterator

import click
from click.testing import CliRunner


class Missing:
    """An importer that has none of the libraries."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())

from lanner.cli.app import lanner_command
from lanner.settings.sections.model import BUILT_IN


def commands(command, words=()):
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*words, name))


def attempt(*words):
    done = CliRunner().invoke(lanner_command, words)
    if done.exit_code:
        print(words, repr(done.exception), done.output)


for words in commands(lanner_command):
    attempt(*words, "--help")
attempt("notifier", "preview", *BUILT_IN)
attempt("config", "check")
attempt("config", "show")
'''
