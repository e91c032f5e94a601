import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

ROOT = Path(__file__).parents[4]
TEXT = """\
- macro: opened_here
  condition: evt.type = openat

- rule: r
  desc: d
  condition: opened_here and in_container and proc.args != \U0001f600 and proc.name = nginx-ingress-controller
  output: "%proc.name"
  priority: NOTICE
"""


class Editor:
    """A client of the server, over its standard input and output."""

    def __init__(self, folder: Path) -> None:
        self.client = LanguageClient("test", "1")
        self.path = folder / "own.yaml"
        self.uri = self.path.as_uri()
        self.published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: types.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(params)

    async def open(self, text: str) -> list[types.Diagnostic]:
        """Start the server, open a document and return its diagnostics."""
        await self.client.start_io(sys.executable, "-m", "lanner", "rules", "lsp", cwd=str(ROOT))
        await self.client.initialize_async(types.InitializeParams(types.ClientCapabilities(), root_uri=ROOT.as_uri()))
        self.client.initialized(types.InitializedParams())
        document = types.TextDocumentItem(self.uri, "yaml", 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))
        return (await self.published.get()).diagnostics

    async def change(self, text: str) -> list[types.Diagnostic]:
        """Replace the text and return its diagnostics."""
        identifier = types.VersionedTextDocumentIdentifier(2, self.uri)
        changes = [types.TextDocumentContentChangeWholeDocument(text)]
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(identifier, changes))
        return (await self.published.get()).diagnostics

    def at(self, text: str) -> Any:
        """Return the document and the position after a text that it contains once."""
        before = TEXT[: TEXT.index(text) + len(text)]
        position = types.Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
        return {"text_document": types.TextDocumentIdentifier(self.uri), "position": position}

    async def close(self) -> None:
        """Stop the server as an editor does; it ends without an error."""
        await self.client.shutdown_async(None)
        self.client.exit(None)
        # pygls has no other way to the process.
        process = self.client._server
        assert process is not None
        assert await asyncio.wait_for(process.wait(), 30) == 0
        await self.client.stop()


def in_editor(folder: Path, steps: Callable[[Editor], Awaitable[None]]) -> None:
    """Run steps with an editor."""

    async def run() -> None:
        editor = Editor(folder)
        try:
            await asyncio.wait_for(steps(editor), 60)
        finally:
            await editor.close()

    asyncio.run(run())


def test_problems_are_shown_while_a_file_is_edited(tmp_path: Path) -> None:
    """Those of `rules validate`, with severity, code and range; built-in macros are known."""

    async def steps(editor: Editor) -> None:
        [found] = await editor.open(TEXT)
        assert (found.code, found.severity) == ("LINT_LONG_NAME", types.DiagnosticSeverity.Warning)
        # LSP counts UTF-16 code units, of which the character before has two.
        start = TEXT.splitlines()[5].index("nginx-ingress") + 1
        assert found.range.start == types.Position(5, start)
        assert found.range.end == types.Position(5, start + len("nginx-ingress-controller"))
        assert "write 'nginx-ingress-c'" in found.message
        assert not await editor.change(TEXT.replace("nginx-ingress-controller", "nginx"))
        [broken] = await editor.change(TEXT.replace("and in_container", "&& in_container"))
        assert (broken.code, broken.severity) == ("LOAD_ERR_COMPILE_CONDITION", types.DiagnosticSeverity.Error)

    in_editor(tmp_path, steps)


def test_documentation_completion_and_definitions(tmp_path: Path) -> None:
    """For fields, macros and lists, also those of other files."""

    async def steps(editor: Editor) -> None:
        await editor.open(TEXT)
        hover = await editor.client.text_document_hover_async(types.HoverParams(**editor.at("and proc.na")))
        assert hover is not None
        assert "**proc.name** `CHARBUF`" in str(hover.contents)

        own = await editor.client.text_document_definition_async(
            types.DefinitionParams(**editor.at("condition: opened_h"))
        )
        assert isinstance(own, types.Location)
        assert (own.uri, own.range.start.line) == (editor.uri, 0)
        other = await editor.client.text_document_definition_async(types.DefinitionParams(**editor.at("and in_cont")))
        assert isinstance(other, types.Location)
        assert other.uri == (ROOT / "rules" / "lanner_rules.yaml").as_uri()

        names = await editor.client.text_document_completion_async(types.CompletionParams(**editor.at("and proc.")))
        assert isinstance(names, list)
        assert {"proc.exepath", "opened_here", "in_container", "shell_names", "startswith"} <= {
            each.label for each in names
        }
        kinds = await editor.client.text_document_completion_async(types.CompletionParams(**editor.at("evt.type = op")))
        assert isinstance(kinds, list)
        assert {each.kind for each in kinds} == {types.CompletionItemKind.EnumMember}

    in_editor(tmp_path, steps)


def test_what_was_probably_meant_is_offered_as_a_replacement(tmp_path: Path) -> None:
    """At its place in UTF-16 code units."""

    async def steps(editor: Editor) -> None:
        text = TEXT.replace("proc.name = nginx-ingress-controller", "proc.nmae = x")
        [broken] = await editor.open(text)
        context = types.CodeActionContext([broken])
        identifier = types.TextDocumentIdentifier(editor.uri)
        actions = await editor.client.text_document_code_action_async(
            types.CodeActionParams(identifier, broken.range, context)
        )
        assert actions is not None
        [action] = actions
        assert isinstance(action, types.CodeAction)
        assert action.title == "Replace by proc.name"
        assert action.edit is not None
        assert action.edit.changes is not None
        [edit] = action.edit.changes[editor.uri]
        start = text.splitlines()[5].index("proc.nmae") + 1
        assert (edit.range.start, edit.range.end) == (types.Position(5, start), types.Position(5, start + 9))

    in_editor(tmp_path, steps)
