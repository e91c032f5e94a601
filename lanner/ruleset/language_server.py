"""The language server: translates between LSP and the analysis. Columns of LSP count UTF-16 code units."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lsprotocol import types
from pygls import uris
from pygls.lsp.server import LanguageServer
from pygls.workspace import TextDocument

import lanner
from foundation.yaml.nodes import SourceLocation
from lanner.errors import BadInput
from lanner.ruleset.editing import Analysis, Completion, fixes
from processor.loading import Problem, RuleFile
from processor.loading.report import documented_at

_SEVERITIES = {
    "error": types.DiagnosticSeverity.Error,
    "warning": types.DiagnosticSeverity.Warning,
    "info": types.DiagnosticSeverity.Information,
}
_ITEM_KINDS = {
    "field": types.CompletionItemKind.Field,
    "macro": types.CompletionItemKind.Function,
    "list": types.CompletionItemKind.Variable,
    "operator": types.CompletionItemKind.Operator,
    "event type": types.CompletionItemKind.EnumMember,
    "key": types.CompletionItemKind.Property,
    "value": types.CompletionItemKind.EnumMember,
}
_REREAD_SECONDS = 2.0
"""How old the files below may be: reading them at each key would be slow."""


class RulesServer:
    """Serves one editor."""

    def __init__(self, below: Callable[[], Sequence[RuleFile]]) -> None:
        """Register the features. below: reads files whose items the edited ones can use; raises BadInput."""
        self.server = LanguageServer("lanner-rules", f"v{lanner.__version__}")
        self._read = below
        self._below: tuple[Sequence[RuleFile], float] = ((), 0.0)
        # pygls marks what it registers, which methods don't allow.
        feature = self.server.feature
        for name in (types.TEXT_DOCUMENT_DID_OPEN, types.TEXT_DOCUMENT_DID_CHANGE, types.TEXT_DOCUMENT_DID_SAVE):
            feature(name)(lambda params: self._publish(params.text_document.uri))
        feature(types.TEXT_DOCUMENT_DID_CLOSE)(lambda params: self._show(params.text_document.uri, []))
        feature(types.TEXT_DOCUMENT_HOVER)(partial(self._hover))
        options = types.CompletionOptions(trigger_characters=[".", "%"])
        feature(types.TEXT_DOCUMENT_COMPLETION, options)(partial(self._complete))
        feature(types.TEXT_DOCUMENT_DEFINITION)(partial(self._definition))
        actions = types.CodeActionOptions([types.CodeActionKind.QuickFix])
        feature(types.TEXT_DOCUMENT_CODE_ACTION, actions)(partial(self._actions))

    def serve(self) -> None:
        """Serve over standard input and output, until the editor ends it.

        pygls closes its streams, and the command line still flushes its own: so they are others.
        """
        with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
            self.server.start_io(requests, answers)

    def _publish(self, uri: str) -> None:
        document, analysis = self._document(uri)
        self._show(uri, [_diagnostic(each, document) for each in analysis.problems()])

    def _show(self, uri: str, found: list[types.Diagnostic]) -> None:
        self.server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri=uri, diagnostics=found))

    def _hover(self, params: types.HoverParams) -> types.Hover | None:
        document, analysis = self._document(params.text_document.uri)
        text = analysis.hover(*_position(document, params.position))
        return None if text is None else types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))

    def _complete(self, params: types.CompletionParams) -> list[types.CompletionItem]:
        document, analysis = self._document(params.text_document.uri)
        return [_completion(each) for each in analysis.completions(*_position(document, params.position))]

    def _definition(self, params: types.DefinitionParams) -> types.Location | None:
        document, analysis = self._document(params.text_document.uri)
        found = analysis.definition(*_position(document, params.position))
        if found is None:
            return None
        uri = uris.from_fs_path(str(Path(found.file).absolute())) or params.text_document.uri
        return types.Location(uri, _range(found, document if uri == params.text_document.uri else None))

    def _actions(self, params: types.CodeActionParams) -> list[types.CodeAction]:
        uri = params.text_document.uri
        document, analysis = self._document(uri)
        found = []
        for problem in analysis.problems():
            shown = _diagnostic(problem, document)
            if shown.range.start.line > params.range.end.line or shown.range.end.line < params.range.start.line:
                continue
            for each in fixes(problem):
                edges = (types.Position(each.line - 1, column - 1) for column in (each.start, each.end))
                place = document.position_codec.range_to_client_units(document.lines, types.Range(*edges))
                edit = types.WorkspaceEdit({uri: [types.TextEdit(place, each.text)]})
                title, kind = f"Replace by {each.text}", types.CodeActionKind.QuickFix
                found.append(types.CodeAction(title, kind, diagnostics=[shown], edit=edit))
        return found

    def _document(self, uri: str) -> tuple[TextDocument, Analysis]:
        document = self.server.workspace.get_text_document(uri)
        name = uris.to_fs_path(uri) or uri
        return document, Analysis(self._files_below(), RuleFile(name, document.source))

    def _files_below(self) -> Sequence[RuleFile]:
        files, read_at = self._below
        if not read_at or time.monotonic() - read_at > _REREAD_SECONDS:
            try:
                files = self._read()
            except BadInput as error:
                message = types.LogMessageParams(types.MessageType.Warning, "; ".join(error.messages))
                self.server.window_log_message(message)
            self._below = (files, time.monotonic())
        return files


def _position(document: TextDocument, position: types.Position) -> tuple[int, int]:
    converted = document.position_codec.position_from_client_units(document.lines, position)
    return converted.line, converted.character


def _range(location: SourceLocation, document: TextDocument | None) -> types.Range:
    start = types.Position(max(location.line - 1, 0), max(location.column - 1, 0))
    end = types.Position(max(location.end_line - 1, 0), max(location.end_column - 1, 0))
    found = types.Range(start, end)
    return found if document is None else document.position_codec.range_to_client_units(document.lines, found)


def _diagnostic(problem: Problem, document: TextDocument) -> types.Diagnostic:
    return types.Diagnostic(
        range=_range(problem.location, document),
        message=f"{problem.message}\n{problem.hint}" if problem.hint else problem.message,
        severity=_SEVERITIES[problem.code.severity],
        code=problem.code.name,
        source=f"lanner ({documented_at(problem.code)})",
    )


def _completion(each: Completion) -> types.CompletionItem:
    return types.CompletionItem(label=each.name, kind=_ITEM_KINDS[each.kind], detail=each.detail)
