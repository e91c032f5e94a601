"""The builder: substitutes lists, parses conditions, resolves macros and checks the rules.

Source: falco rule_loader_compiler.cpp.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import Enum

from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, ScalarNode
from foundation.yaml.text import Piece, Span, TracedText
from processor.language.ast import (
    Ancestor,
    Check,
    Listed,
    Literal,
    Macro,
    MacroRef,
    Node,
    Or,
    ValueList,
    checks,
    children,
    walk,
    with_children,
)
from processor.language.event_types import event_types, is_broad
from processor.language.tokens import IN_INDICATORS, ConditionError
from processor.loading.condition_checks import (
    Checker,
    CompilerProblem,
    condition_hint,
    fields_of_no_ancestor,
    fields_of_others,
    output_findings,
    parts_beside,
)
from processor.loading.definitions import (
    ItemLocation,
    MacroDefinition,
    RuleDefinition,
    head_location,
    problem,
    scalar_piece,
)
from processor.loading.items.collection import Collection
from processor.loading.items.exceptions import as_declared, with_exceptions
from processor.loading.items.macros import (
    BrokenMacro,
    ConditionTooLong,
    ListTable,
    MacroProblem,
    MacroTable,
    MacroText,
    expand,
)
from processor.loading.items.rule_legs import RuleLegs
from processor.loading.problems import ItemRejected, Problem, ProblemCode
from processor.loading.rules import LoadedList
from processor.rule import LoadedMacro, Rule, sources_of
from schemas.catalog.fields import SYSCALL

_CONTAINER_INFO = "%container.info"
_CONTAINER_INFO_MESSAGE = (
    "%container.info is deprecated and no longer useful: it is removed from the output. "
    "Use the container fields instead."
)
MAX_ERRORS = 100
MAX_OUTPUT = 10_000
_MOST_PARTS = 10
"""The maximum number of parts of one condition in which errors are looked for after a syntax error."""
_LONGEST_IN_PARTS = 20_000
"""Characters of a condition up to which its parts are looked at."""
_REPORTED = 1_000_000
"""The error count after the error limit has been reported."""
_BROAD = "Rule matches too many evt.type values. This has a significant performance penalty."


class _Verdict(Enum):
    GOOD = 0
    WRONG = 1
    SKIPPED = 2
    """It uses an unknown field or event type and sets skip-if-unknown-filter."""


class Builder:
    """Builds all items collected so far, once."""

    def __init__(
        self, collection: Collection, parse: Callable[[str], Node], checker: Checker, report: Callable[[Problem], None]
    ) -> None:
        self._collection = collection
        self._parse_text = parse
        self._checker = checker
        self._report_problem = report
        self._failed = False
        self._errors = 0
        self._lists = ListTable([])
        self._macros = MacroTable(frozenset(collection.broken["macro"]))
        self.lists: dict[str, LoadedList] = {}
        self.macros: dict[str, LoadedMacro] = {}
        self.rules: list[Rule] = []
        self._rule_legs = RuleLegs({}, report)
        self._used_indicators: set[str] = set()

    def build(self, *, whole: bool) -> None:
        """Build lists, macros and rules; report problems, and unused items if every item so far was valid (`whole`)."""
        self._failed = not whole
        self._build_lists()
        self._build_macros()
        self._rule_legs = RuleLegs(self.macros, self._report)
        indexed = {rule.name: (index, rule) for index, rule in enumerate(self._collection.rules.values())}
        known = {name: _text(rule.condition) for name, (_, rule) in indexed.items() if not rule.unknown_source}
        # Rules about other rules come last: these have to be complete.
        for name in self._rule_legs.in_order(known):
            index, rule = indexed[name]
            if not self._is_full(rule.spot):
                self._build_rule(index, rule)
        self.rules.sort(key=lambda rule: rule.index)
        for spot in self._collection.rejected:
            if not self._is_full(spot):
                self._report_rejected(spot)
        if not self._failed:
            # Items that only an invalid rule uses would be reported as unused.
            self._warn_of_unused()

    def _is_full(self, spot: ItemLocation) -> bool:
        if self._errors < MAX_ERRORS:
            return False
        if self._errors != _REPORTED:
            message = f"{MAX_ERRORS} errors: the remaining items are not checked"
            self._report(problem(ProblemCode.LOAD_ERR_VALIDATE, message, spot, hint="correct these, then load again"))
        self._errors = _REPORTED
        return True

    def _report(self, found: Problem) -> None:
        if found.code.severity == "error":
            self._failed = True
            self._errors += 1
        self._report_problem(found)

    def _build_lists(self) -> None:
        lists = self._collection.lists
        expanded = []
        named = set()
        for definition in lists.values():
            nodes: list[ScalarNode] = []
            for node in definition.items:
                inner = lists.get(node.value)
                if inner is not None and inner.index < definition.visibility:
                    named.add(node.value)
                    nodes.extend(inner.items)
                else:
                    nodes.append(node)
            items = tuple(node.value for node in nodes)
            expanded.append(expand(definition.name, items))
            self.lists[definition.name] = LoadedList(
                definition.name, items, head_location(definition.spot), tuple(nodes)
            )
        self._lists = ListTable(expanded)
        self._lists.used |= named

    def _build_macros(self) -> None:
        texts: dict[str, TracedText] = {}
        for definition in self._collection.macros.values():
            traced = TracedText.of(definition.condition)
            tree = None if self._is_full(definition.spot) else self._parse(traced, definition.spot)
            if tree is None:
                self._macros.break_(definition.name)
            else:
                texts[definition.name] = traced
                self._macros.add(MacroText(definition.name, tree, definition.index, definition.visibility))
        for definition in self._collection.macros.values():
            if definition.name in texts and not self._is_full(definition.spot):
                self._resolve_macro(definition, texts[definition.name])

    def _resolve_macro(self, definition: MacroDefinition, traced: TracedText) -> None:
        try:
            tree = self._macros.resolve_macro(definition.name)
        except BrokenMacro:
            self._macros.break_(definition.name)
            return
        except MacroProblem as error:
            self._macros.break_(definition.name)
            self._macro_problem(error, traced, definition.spot)
            self._report_rest(self._macros.written(definition.name), traced, definition.spot)
            return
        self.macros[definition.name] = LoadedMacro(
            definition.name,
            _text(definition.condition),
            tree,
            definition.extensions,
            head_location(definition.spot),
            traced,
        )

    def _macro_problem(self, error: MacroProblem, traced: TracedText, spot: ItemLocation) -> None:
        hint = ""
        if error.name:
            hint = did_you_mean(error.name, self._macros.names)
            if error.name in self._collection.macros and spot.type == "macro":
                hint = f"'{error.name}' is defined later: a macro can use only the macros before it"
            elif error.name in self._collection.lists:
                hint = f"'{error.name}' is a list: write 'FIELD in ({error.name})'"
        location = traced.locate(error.span)
        self._report(Problem(ProblemCode.LOAD_ERR_VALIDATE, error.message, spot.type, spot.name, location, hint))

    def _parse(self, traced: TracedText, spot: ItemLocation) -> Node | None:
        try:
            self._lists.substitute(traced)
            tree = self._parse_text(traced.text)
            return tree if IN_INDICATORS not in traced.text else self._with_indicators(tree, traced, spot)
        except ConditionError as error:
            self._condition_error(error, traced, spot)
            self._report_parts(parts_beside(traced.text, error.span[0]), traced, spot)
            return None
        except ConditionTooLong as error:
            location, message, hint = head_location(spot), str(error), "check for lists that include each other"
        self._report(Problem(ProblemCode.LOAD_ERR_COMPILE_CONDITION, message, spot.type, spot.name, location, hint))
        return None

    def _with_indicators(self, tree: Node, traced: TracedText, spot: ItemLocation) -> Node | None:
        """Return a condition with the lists of indicators that it names; None if there is no such list."""
        unknown: list[Literal] = []

        def listed(value: Literal) -> Literal:
            found = self._collection.indicators.get(value.text)
            if found is None:
                unknown.append(value)
                return value
            self._used_indicators.add(value.text)
            return Listed(value.text, value.quoted, value.span, found.indicators)

        def bound(node: Node) -> Node:
            if not isinstance(node, Check):
                return with_children(node, tuple(map(bound, children(node))))
            if node.operator != IN_INDICATORS or not isinstance(node.right, Literal | ValueList):
                return node
            names = node.right
            right = (
                listed(names) if isinstance(names, Literal) else replace(names, items=tuple(map(listed, names.items)))
            )
            return replace(node, right=right)

        made = bound(tree)
        for value in unknown:
            if value.text not in self._collection.broken["indicators"]:
                message = f"Undefined indicators '{value.text}' used in filter."
                hint = did_you_mean(value.text, self._collection.indicators) or "define them by '- indicators: NAME'"
                code, location = ProblemCode.LOAD_ERR_VALIDATE, traced.locate(value.span)
                self._report(Problem(code, message, spot.type, spot.name, location, hint))
        return None if unknown else made

    def _condition_error(self, error: ConditionError, traced: TracedText, spot: ItemLocation) -> None:
        location = traced.locate(error.span)
        hint = condition_hint(traced, error, location)
        code = ProblemCode.LOAD_ERR_COMPILE_CONDITION
        self._report(Problem(code, error.message, spot.type, spot.name, location, hint))

    def _report_parts(self, texts: list[str], traced: TracedText, spot: ItemLocation) -> None:
        """Report the errors of the parts of a condition that can't be parsed as a whole."""
        for _ in range(_MOST_PARTS if len(traced.text) <= _LONGEST_IN_PARTS else 0):
            if not texts:
                return
            text = texts.pop(0)
            try:
                tree = self._parse_text(text)
            except ConditionError as error:
                self._condition_error(error, traced, spot)
                texts += parts_beside(text, error.span[0])
            else:
                self._report_rest(tree, traced, spot)

    def _report_rejected(self, spot: ItemLocation) -> None:
        """Report the errors in the texts of a definition that was rejected for something else."""
        condition, output = (_piece(spot, key) for key in ("condition", "output"))
        if condition is not None:
            traced = TracedText.of([condition])
            if (tree := self._parse(traced, spot)) is not None:
                self._report_rest(tree, traced, spot)
        if output is not None and spot.type == "rule" and len(output.text) <= MAX_OUTPUT:
            traced = TracedText.of([output])
            self._report_errors(output_findings(traced.text, _stated(spot, "source") or SYSCALL), traced, spot)

    def _report_errors(self, findings: Iterable[CompilerProblem], traced: TracedText, spot: ItemLocation) -> None:
        skips = _stated(spot, "skip-if-unknown-filter") is not None
        for each in findings:
            if each.code.severity == "error" and not (each.is_unknown and skips):
                location = traced.locate(each.span)
                self._report(Problem(each.code, each.message, spot.type, spot.name, location, each.hint))

    def _report_rest(self, tree: Node, traced: TracedText, spot: ItemLocation) -> None:
        """Report the other errors of a condition with an error: unknown macros and wrong checks."""
        source = _stated(spot, "source") or SYSCALL
        for node in walk(tree):
            if isinstance(node, MacroRef):
                try:
                    self._macros.resolve(node)
                except BrokenMacro:
                    continue
                except MacroProblem as error:
                    self._macro_problem(error, traced, spot)
            elif isinstance(node, Check):
                others = fields_of_others(node, source) if spot.type == "rule" else ()
                self._report_errors((*self._checker.findings(node), *others), traced, spot)

    def _build_rule(self, index: int, rule: RuleDefinition) -> None:
        try:
            pieces = with_exceptions(rule.condition, rule.exceptions)
        except ItemRejected as rejected:
            self._report(rejected.problem)
            traced = TracedText.of(rule.condition)
            if (tree := self._parse(traced, rule.spot)) is not None:
                self._report_rest(tree, traced, rule.spot)
            return
        traced = TracedText.of(pieces)
        output, verdict = self._output(rule)
        tree = None if verdict is _Verdict.SKIPPED else self._parse(traced, rule.spot)
        if tree is None:
            return
        written = tree
        try:
            tree = self._macros.counted(self._rule_legs.resolve(self._macros.resolve(tree), self.rules))
        except BrokenMacro:
            self._report_rest(written, traced, rule.spot)
            return
        except MacroProblem as error:
            self._macro_problem(error, traced, rule.spot)
            self._report_rest(written, traced, rule.spot)
            return
        if self._check(tree, traced, rule) is not _Verdict.GOOD or verdict is not _Verdict.GOOD:
            return
        types = event_types(self._of_source(tree, rule.source) if self._checks_of_windows(tree) else tree)
        if rule.source == SYSCALL and rule.warn_evttypes and is_broad(types):
            hint = "restrict evt.type, or set 'warn_evttypes: false'"
            location = traced.locate((0, len(traced.text)))
            self._report(Problem(ProblemCode.LOAD_NO_EVTTYPE, _BROAD, rule.spot.type, rule.name, location, hint))
        self.rules.append(_rule(index, rule, tree, traced, output=output, types=types))

    def _output(self, rule: RuleDefinition) -> tuple[str, _Verdict]:
        traced = TracedText.of(rule.output)
        if _CONTAINER_INFO in traced.text:
            start = traced.text.index(_CONTAINER_INFO)
            location = traced.locate((start, start + len(_CONTAINER_INFO)))
            code = ProblemCode.LOAD_DEPRECATED_ITEM
            self._report(Problem(code, _CONTAINER_INFO_MESSAGE, "rule", rule.name, location, "remove it"))
        output = traced.text.replace(_CONTAINER_INFO, "")
        if len(output) > MAX_OUTPUT:
            message = f"the output has {len(output):,} characters, more than the limit of {MAX_OUTPUT:,}"
            self._report(problem(ProblemCode.LOAD_ERR_COMPILE_OUTPUT, message, rule.spot, hint="shorten it"))
            return "", _Verdict.WRONG
        findings = output_findings(output, rule.source)
        if output != traced.text:
            # The spans refer to the remaining text, so locate the whole output instead.
            traced = TracedText((Piece(traced.text, rule.output[0].node),), traced.text)
        return output, self._report_findings(findings, traced, rule)

    def _check(self, tree: Node, traced: TracedText, rule: RuleDefinition) -> _Verdict:
        found: list[CompilerProblem] = []
        seen: set[tuple[ProblemCode, str, Span]] = set()
        of_windows = self._checks_of_windows(tree)
        for check, macro, is_of_ancestor in checks_and_macros(tree):
            others = () if id(check) in of_windows else fields_of_others(check, rule.source)
            own = fields_of_no_ancestor(check) if is_of_ancestor else ()
            for finding in (*self._checker.findings(check), *others, *own):
                span = macro.span if macro else finding.span
                # A deprecated field in a macro that a condition uses twice is reported at both positions.
                if (finding.code, finding.message, span) not in seen:
                    seen.add((finding.code, finding.message, span))
                    found.append(self._seen_from_rule(finding, macro))
        return self._report_findings(found, traced, rule)

    def _checks_of_windows(self, tree: Node) -> frozenset[int]:
        """Return the checks in stateful macros, whose events may be of other sources than the rule's."""
        macros = (node for node in walk(tree) if isinstance(node, Macro) and self._is_stateful(node.name))
        return frozenset(id(check) for macro in macros for check in checks(macro))

    def _of_source(self, node: Node, source: str) -> Node:
        """Return a condition without the legs of stateful macros that take events of other sources only."""
        if isinstance(node, Macro) and isinstance(node.body, Or) and self._is_stateful(node.name):
            legs = tuple(leg for leg in node.body.children if source in sources_of(leg))
            if legs and len(legs) < len(node.body.children):
                return Macro(node.name, legs[0] if len(legs) == 1 else Or(legs), node.span)
            return node
        return with_children(node, tuple(self._of_source(child, source) for child in children(node)))

    def _is_stateful(self, name: str) -> bool:
        macro = self.macros.get(name)
        return macro is not None and "correlation" in macro.extensions

    def _seen_from_rule(self, finding: CompilerProblem, macro: Macro | None) -> CompilerProblem:
        if macro is None:
            return finding
        definition = self.macros.get(macro.name)
        where = f"in macro '{macro.name}'"
        if definition is not None:
            where += f" ({definition.location.file}:{definition.location.line})"
        hint = f"{where}: {finding.hint}" if finding.hint else where
        return CompilerProblem(finding.code, finding.message, macro.span, hint, finding.is_unknown)

    def _report_findings(self, findings: list[CompilerProblem], traced: TracedText, rule: RuleDefinition) -> _Verdict:
        errors = [finding for finding in findings if finding.code.severity == "error"]
        # Falco stops at the first error of a rule that may be skipped.
        skipped = bool(errors) and rule.skip_if_unknown_filter and errors[0].is_unknown
        for finding in findings:
            code = finding.code
            if code.severity == "error" and skipped:
                if not finding.is_unknown:
                    continue
                code = ProblemCode.LOAD_UNKNOWN_FILTER
            location = traced.locate(finding.span)
            self._report(Problem(code, finding.message, "rule", rule.name, location, finding.hint))
        return _Verdict.SKIPPED if skipped else _Verdict.WRONG if errors else _Verdict.GOOD

    def _warn_of_unused(self) -> None:
        for macro in self._collection.macros.values():
            if macro.name not in self._macros.used:
                message = "Macro not referred to by any other rule/macro"
                self._report(problem(ProblemCode.LOAD_UNUSED_MACRO, message, macro.spot))
        for item in self._collection.lists.values():
            if item.name not in self._lists.used:
                message = "List not referred to by any other rule/macro"
                self._report(problem(ProblemCode.LOAD_UNUSED_LIST, message, item.spot))
        for name, each in self._collection.indicators.items():
            if name not in self._used_indicators:
                message = "Indicators not referred to by any rule/macro"
                code = ProblemCode.LOAD_UNUSED_LIST
                self._report(Problem(code, message, "indicators", name, each.location))


def checks_and_macros(node: Node) -> Iterator[tuple[Check, Macro | None, bool]]:
    """Yield each check, the outermost macro that contains it, and whether it is of an ancestor.

    A body repeated under one macro is visited only once.
    """
    todo: list[tuple[Node, Macro | None, bool]] = [(node, None, False)]
    seen: set[tuple[int, int, bool]] = set()
    while todo:
        current, macro, is_of_ancestor = todo.pop()
        if isinstance(current, Check):
            yield current, macro, is_of_ancestor
        elif isinstance(current, Macro):
            key = (id(current.body), id(macro), is_of_ancestor)
            if key not in seen:
                if macro is not None:
                    seen.add(key)
                todo.append((current.body, macro or current, is_of_ancestor))
        else:
            is_of_ancestor = is_of_ancestor or isinstance(current, Ancestor)
            todo.extend((child, macro, is_of_ancestor) for child in reversed(children(current)))


def _rule(
    index: int, rule: RuleDefinition, tree: Node, traced: TracedText, *, output: str, types: frozenset[str]
) -> Rule:
    return Rule(
        index=index,
        name=rule.name,
        description=rule.description,
        condition=tree,
        condition_text=_text(rule.condition),
        output=output,
        event_types=types,
        priority=rule.priority,
        source=rule.source,
        tags=tuple(sorted(rule.tags)),
        enabled=rule.enabled,
        capture=rule.capture,
        capture_duration=rule.capture_duration,
        warn_evttypes=rule.warn_evttypes,
        skip_if_unknown_filter=rule.skip_if_unknown_filter,
        exceptions=tuple(map(as_declared, rule.exceptions)),
        active_exceptions=tuple(exception.name for exception in rule.exceptions if exception.values),
        extensions=rule.extensions,
        location=head_location(rule.spot),
        traced=traced,
        response=rule.response,
        actions=tuple(node.value for node in rule.actions),
        python=rule.python,
        traced_output=traced_output if (traced_output := TracedText.of(rule.output)).text == output else None,
    )


def _piece(spot: ItemLocation, key: str) -> Piece | None:
    node = spot.node.get(key) if isinstance(spot.node, MappingNode) else None
    return scalar_piece(node) if isinstance(node, ScalarNode) and not node.is_null and node.value else None


def _stated(spot: ItemLocation, key: str) -> str | None:
    piece = _piece(spot, key)
    return None if piece is None else piece.text


def _text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
