"""Filter patterns of CloudWatch Logs: which log events match, and which value a metric takes from them.

Stands on "Filter pattern syntax for metric filters, subscription filters, filter log events, and Live Tail" in the
CloudWatch Logs User Guide. Understood: terms (``ERROR "not found"``, ``?ERROR ?WARN``, ``ERROR -timeout``), regular
expressions between per cent signs, and JSON patterns with ``= != < <= > >=``, ``IS TRUE | FALSE | NULL``, ``EXISTS``,
``NOT EXISTS``, ``&&``, ``||``, parentheses and wildcards. Space-delimited patterns (``[ip, user, ...]``) are refused
rather than taken for something else. Pure.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Test = Callable[[Any], bool]

_JSON_TOKENS = re.compile(
    r"""\s*(?:
        (?P<selector>\$(?:\.[A-Za-z0-9_\-]+|\[(?:\d+|\*|'[^']*'|"[^"]*")\]|\.\[(?:'[^']*'|"[^"]*")\])*)
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<regex>%[^%]*%)
      | (?P<symbol>&&|\|\||!=|<=|>=|[=<>()])
      | (?P<bare>[^\s&|()=<>!]+)
    )""",
    re.VERBOSE,
)
_SELECTOR_PARTS = re.compile(r"""\.?\[(?P<index>\d+|\*)\]|\.?\[['"](?P<quoted>[^'"]*)['"]\]|\.(?P<name>[A-Za-z0-9_\-]+)""")
_TERMS = re.compile(r"""(?P<sign>[?\-]?)(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<regex>%[^%]*%)|(?P<bare>\S+))""")


class PatternError(ValueError):
    """The pattern is not valid; CloudWatch Logs answers it with ``InvalidParameterException``."""


class FilterPattern:
    """One pattern, understood once and asked many times."""

    def __init__(self, pattern: str) -> None:
        text = pattern.strip()
        self._test_document: Test | None = None
        self._test_text: Callable[[str], bool] = _match_all
        if text.startswith("{"):
            self._test_document = _JsonPattern(text).test
        elif text.startswith("["):
            msg = f"The sandbox does not understand space-delimited filter patterns: {pattern}"
            raise PatternError(msg)
        elif text:
            self._test_text = _terms(text)

    def matches(self, message: str) -> bool:
        """Whether a log event with this message passes."""
        if self._test_document is None:
            return self._test_text(message)
        document = _parsed(message)
        return document is not None and self._test_document(document)


def number_at(message: str, selector: str) -> float | None:
    """The number that a JSON event has at `selector` (``$.field``), or None: it then gives no data point."""
    found = text_at(message, selector)
    return None if found is None else _number(found)


def text_at(message: str, selector: str) -> str | None:
    """The first value that a JSON event has at `selector`, as text; None if there is none."""
    document = _parsed(message)
    values = [] if document is None else list(_select(document, _steps(selector)))
    if not values or isinstance(values[0], dict | list) or values[0] is None:
        return None
    return _as_text(values[0])


@lru_cache(maxsize=512)
def compiled(pattern: str) -> FilterPattern:
    """The pattern, understood; raises `PatternError`."""
    return FilterPattern(pattern)


def _match_all(_message: str) -> bool:
    return True


def _terms(pattern: str) -> Callable[[str], bool]:
    """Every plain term must be there and no excluded one; optional ones count only among themselves."""
    required: list[Callable[[str], bool]] = []
    optional: list[Callable[[str], bool]] = []
    excluded: list[Callable[[str], bool]] = []
    for found in _TERMS.finditer(pattern):
        kind = {"": required, "?": optional, "-": excluded}[found.group("sign")]
        kind.append(_term(found))

    def test(message: str) -> bool:
        if any(term(message) for term in excluded) or not all(term(message) for term in required):
            return False
        return bool(required) or not optional or any(term(message) for term in optional)

    return test


def _term(found: re.Match[str]) -> Callable[[str], bool]:
    if found.group("regex"):
        expression = _regular_expression(found.group("regex"))
        return lambda message: expression.search(message) is not None
    quoted = found.group("quoted")
    term = found.group("bare") if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return lambda message: term in message


class _JsonPattern:
    """A recursive descent over ``{ a && (b || c) }``; `test` says whether a parsed event passes."""

    def __init__(self, pattern: str) -> None:
        if not pattern.endswith("}"):
            msg = f"Invalid filter pattern: {pattern} has no closing brace"
            raise PatternError(msg)
        self._pattern = pattern
        self._tokens = self._tokenize(pattern[1:-1])
        self._position = 0
        self.test = self._any()
        if self._position < len(self._tokens):
            raise self._error()

    def _tokenize(self, text: str) -> list[tuple[str, str]]:
        tokens = []
        position = 0
        text = text.rstrip()
        while position < len(text):
            found = _JSON_TOKENS.match(text, position)
            if found is None:
                msg = f"Invalid filter pattern: {self._pattern} near {text[position:]!r}"
                raise PatternError(msg)
            kind = found.lastgroup or ""
            tokens.append((kind, found.group(kind)))
            position = found.end()
        return tokens

    def _any(self) -> Test:
        tests = [self._all()]
        while self._accept("||"):
            tests.append(self._all())
        return lambda document: any(test(document) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._accept("&&"):
            tests.append(self._one())
        return lambda document: all(test(document) for test in tests)

    def _one(self) -> Test:
        if self._accept("("):
            test = self._any()
            self._expect(")")
            return test
        steps = _steps(self._take("selector"))
        if self._accept("IS"):
            return self._is(steps)
        if self._accept("NOT"):
            self._expect("EXISTS")
            return lambda document: not any(True for _ in _select(document, steps))
        if self._accept("EXISTS"):
            return lambda document: any(True for _ in _select(document, steps))
        return self._comparison(steps)

    def _is(self, steps: list[str | int]) -> Test:
        constants = {"TRUE": True, "FALSE": False, "NULL": None}
        word = self._take("bare").upper()
        if word not in constants:
            raise self._error()
        expected = constants[word]
        return lambda document: any(value is expected for value in _select(document, steps))

    def _comparison(self, steps: list[str | int]) -> Test:
        operator = self._take("symbol")
        value = self._value_test(operator)
        return lambda document: any(value(found) for found in _select(document, steps))

    def _value_test(self, operator: str) -> Test:
        kind, text = self._next()
        orders: dict[str, Callable[[float, float], bool]] = {
            "<": lambda left, right: left < right,
            "<=": lambda left, right: left <= right,
            ">": lambda left, right: left > right,
            ">=": lambda left, right: left >= right,
        }
        if operator in orders:
            limit = _number(text)
            if kind != "bare" or limit is None:
                raise self._error()
            order = orders[operator]
            return lambda value: _is_number(value) and order(float(value), limit)
        if operator not in ("=", "!="):
            raise self._error()
        equal = self._equality(kind, text)
        return equal if operator == "=" else lambda value: not equal(value)

    def _equality(self, kind: str, text: str) -> Test:
        if kind == "regex":
            expression = _regular_expression(text)
            return lambda value: isinstance(value, str) and expression.search(value) is not None
        if kind == "text":
            wildcard = _wildcard(json.loads(text))
            return lambda value: _is_scalar(value) and wildcard.fullmatch(_as_text(value)) is not None
        if kind != "bare":
            raise self._error()
        number = _number(text)
        wildcard = _wildcard(text)
        if number is None:
            return lambda value: _is_scalar(value) and wildcard.fullmatch(_as_text(value)) is not None
        return lambda value: _is_number(value) and float(value) == number

    def _next(self) -> tuple[str, str]:
        if self._position >= len(self._tokens):
            raise self._error()
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _take(self, kind: str) -> str:
        found, text = self._next()
        if found != kind:
            raise self._error()
        return text

    def _accept(self, word: str) -> bool:
        if self._position < len(self._tokens):
            kind, text = self._tokens[self._position]
            if kind in ("symbol", "bare") and text.upper() == word:
                self._position += 1
                return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._error()

    def _error(self) -> PatternError:
        near = " ".join(text for _, text in self._tokens[max(0, self._position - 1) : self._position + 2])
        return PatternError(f"Invalid filter pattern: {self._pattern} near {near!r}")


def _steps(selector: str) -> list[str | int]:
    """``$.a[0].b`` as ``["a", 0, "b"]``; ``*`` stands for every element."""
    steps: list[str | int] = []
    for part in _SELECTOR_PARTS.finditer(selector, 1):
        index = part.group("index")
        name = part.group("name") or part.group("quoted") or ""
        steps.append(name if index is None else "*" if index == "*" else int(index))
    return steps


def _select(value: Any, steps: list[str | int]) -> Iterator[Any]:
    """Every value that the steps lead to."""
    if not steps:
        yield value
        return
    step, *rest = steps
    if isinstance(value, dict) and isinstance(step, str) and step in value:
        yield from _select(value[step], rest)
    elif isinstance(value, list) and step == "*":
        for element in value:
            yield from _select(element, rest)
    elif isinstance(value, list) and isinstance(step, int) and step < len(value):
        yield from _select(value[step], rest)


def _parsed(message: str) -> Any:
    try:
        return json.loads(message)
    except ValueError:
        return None


def _wildcard(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def _regular_expression(token: str) -> re.Pattern[str]:
    try:
        return re.compile(token[1:-1])
    except re.error as error:
        msg = f"Invalid filter pattern: {token} is no regular expression"
        raise PatternError(msg) from error


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _as_text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
