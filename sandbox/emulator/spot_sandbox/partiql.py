"""PartiQL statements on one item, turned into DynamoDB's own requests.

``UPDATE "table" SET a = ? SET b = b + 1 REMOVE c WHERE pk = ? AND sk = ? AND d IS MISSING RETURNING ALL NEW *``
becomes an UpdateItem with a key, an update expression and a condition; INSERT becomes a PutItem, DELETE a DeleteItem,
and a SELECT by the whole key a GetItem.
Grammar: "PartiQL update, insert and delete statements for DynamoDB" and "Use PartiQL functions with DynamoDB" in the
DynamoDB Developer Guide. Pure: no table is touched here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

AttributeValue = dict[str, Any]
"""A value as DynamoDB's API writes it, such as ``{"S": "x"}``."""

_TOKENS = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | "(?P<quoted>[^"]+)"
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<symbol><<|>>|<>|!=|<=|>=|[=<>(),.\[\]{}:?+\-*])
    )""",
    re.VERBOSE,
)
_COMPARATORS = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONDITION_FUNCTIONS = {"begins_with", "contains", "attribute_type"}


class StatementError(Exception):
    """The statement is not valid; DynamoDB answers it with ``ValidationException``."""


@dataclass(frozen=True)
class Request:
    """An operation of DynamoDB's API and its arguments."""

    operation: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


@dataclass
class _Expression:
    """Placeholders of the expressions of one request."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, AttributeValue] = field(default_factory=dict)

    def name(self, attribute: str) -> str:
        for placeholder, known in self.names.items():
            if known == attribute:
                return placeholder
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: AttributeValue) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def arguments(self) -> dict[str, Any]:
        used = {"ExpressionAttributeNames": self.names, "ExpressionAttributeValues": self.values}
        return {name: content for name, content in used.items() if content}


def table_name(statement: str) -> str:
    """The table that a statement speaks of; raises `StatementError`."""
    tokens = _tokenize(statement)
    for index, token in enumerate(tokens[:-1]):
        if token.kind == "word" and token.text.upper() in ("UPDATE", "INTO", "FROM"):
            return tokens[index + 1].text
    msg = "Statement wasn't well formed, can't be processed"
    raise StatementError(msg)


def is_write(statement: str) -> bool:
    """Whether the statement changes an item."""
    tokens = _tokenize(statement)
    return bool(tokens) and tokens[0].text.upper() in ("UPDATE", "INSERT", "DELETE")


def translate(statement: str, parameters: Sequence[AttributeValue], key_names: Sequence[str]) -> Request:
    """The request for a statement on one item of a table with the key attributes `key_names`."""
    parser = _Parser(_tokenize(statement), list(parameters), list(key_names))
    request = parser.statement()
    if parser.unused_parameters():
        msg = "Number of parameters in request and statement don't match."
        raise StatementError(msg)
    return request


def _tokenize(statement: str) -> list[_Token]:
    tokens = []
    position = 0
    text = statement.strip()
    while position < len(text):
        found = _TOKENS.match(text, position)
        if found is None:
            msg = f"Statement wasn't well formed, can't be processed: unexpected {text[position:].lstrip()[0]!r}"
            raise StatementError(msg)
        kind = found.lastgroup or ""
        tokens.append(_Token(kind, found.group(kind)))
        position = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], parameters: list[AttributeValue], key_names: list[str]) -> None:
        self._tokens = tokens
        self._position = 0
        self._parameters = parameters
        self._key_names = key_names
        self._key: dict[str, AttributeValue] = {}
        self._expression = _Expression()

    def unused_parameters(self) -> bool:
        return bool(self._parameters)

    def statement(self) -> Request:
        kinds: dict[str, Callable[[], Request]] = {"UPDATE": self._update, "INSERT": self._insert, "DELETE": self._delete, "SELECT": self._select}
        kind = self._take().text.upper()
        if kind not in kinds:
            msg = f"Statement wasn't well formed, can't be processed: {kind}"
            raise StatementError(msg)
        request = kinds[kind]()
        if self._position < len(self._tokens):
            msg = f"Statement wasn't well formed, can't be processed: unexpected {self._tokens[self._position].text!r}"
            raise StatementError(msg)
        return request

    # The four statements

    def _update(self) -> Request:
        table = self._take().text
        clauses: dict[str, list[str]] = {"SET": [], "ADD": [], "DELETE": [], "REMOVE": []}
        while not self._at("WHERE"):
            self._change(clauses)
        condition = self._where()
        key = self._complete_key()
        exists = f"attribute_exists({self._expression.name(self._key_names[0])})"
        arguments = {
            "TableName": table,
            "Key": key,
            "UpdateExpression": " ".join(f"{word} {', '.join(parts)}" for word, parts in clauses.items() if parts),
            "ConditionExpression": f"{exists} AND ({condition})" if condition else exists,
            **self._returning(),
            **self._expression.arguments(),
        }
        return Request("UpdateItem", arguments)

    def _insert(self) -> Request:
        self._expect("INTO")
        table = self._take().text
        self._expect("VALUE")
        item = self._value()
        if "M" not in item:
            msg = "Statement wasn't well formed, can't be processed: VALUE takes a map"
            raise StatementError(msg)
        condition = f"attribute_not_exists({self._expression.name(self._key_names[0])})"
        arguments = {"TableName": table, "Item": item["M"], "ConditionExpression": condition}
        return Request("PutItem", arguments | self._expression.arguments())

    def _delete(self) -> Request:
        self._expect("FROM")
        table = self._take().text
        condition = self._where()
        arguments: dict[str, Any] = {"TableName": table, "Key": self._complete_key(), **self._returning()}
        if condition:
            # A DELETE that finds no item succeeds; only an item that is there can fail its condition.
            missing = f"attribute_not_exists({self._expression.name(self._key_names[0])})"
            arguments["ConditionExpression"] = f"{missing} OR ({condition})"
        return Request("DeleteItem", arguments | self._expression.arguments())

    def _select(self) -> Request:
        paths: list[str] = []
        if not self._accept("*"):
            paths.append(self._path())
            while self._accept(","):
                paths.append(self._path())
        self._expect("FROM")
        table = self._take().text
        if self._where():
            raise StatementError("Select statements on one item take the primary key in the where clause and nothing else.")
        arguments: dict[str, Any] = {"TableName": table, "Key": self._complete_key(), **self._expression.arguments()}
        if paths:
            arguments["ProjectionExpression"] = ", ".join(paths)
        return Request("GetItem", arguments)

    # SET and REMOVE

    def _change(self, clauses: dict[str, list[str]]) -> None:
        if self._accept("REMOVE"):
            clauses["REMOVE"].append(self._path())
        elif self._accept("SET"):
            self._assignment(clauses)
            while self._accept(","):
                self._assignment(clauses)
        else:
            msg = "Statement wasn't well formed, can't be processed: expected SET, REMOVE or WHERE"
            raise StatementError(msg)

    def _assignment(self, clauses: dict[str, list[str]]) -> None:
        path = self._path()
        self._expect("=")
        if self._accept_function("set_add"):
            clauses["ADD"].append(f"{path} {self._second_argument()}")
        elif self._accept_function("set_delete"):
            clauses["DELETE"].append(f"{path} {self._second_argument()}")
        else:
            clauses["SET"].append(f"{path} = {self._sum()}")

    def _second_argument(self) -> str:
        self._path()
        self._expect(",")
        argument = self._operand()
        self._expect(")")
        return argument

    def _sum(self) -> str:
        if self._accept_function("list_append"):
            first = self._operand()
            self._expect(",")
            second = self._operand()
            self._expect(")")
            return f"list_append({first}, {second})"
        total = self._operand()
        for sign in ("+", "-"):
            if self._accept(sign):
                return f"{total} {sign} {self._operand()}"
        return total

    # WHERE

    def _where(self) -> str:
        """The condition beside the key, whose equalities are kept apart."""
        self._expect("WHERE")
        terms = [self._top_term()]
        while self._accept("AND"):
            terms.append(self._top_term())
        condition = " AND ".join(term for term in terms if term)
        if not self._accept("OR"):
            return condition
        msg = "Where clause does not contain a mandatory equality on all key attributes"
        raise StatementError(msg)

    def _top_term(self) -> str:
        start = self._position
        if self._at_key_equality():
            name = self._take().text
            self._take()
            if name in self._key:
                msg = f"Key attribute {name} is given twice"
                raise StatementError(msg)
            self._key[name] = self._value()
            return ""
        self._position = start
        return self._term()

    def _at_key_equality(self) -> bool:
        ahead = self._tokens[self._position : self._position + 2]
        return len(ahead) > 1 and ahead[0].text in self._key_names and ahead[1].text == "="

    def _condition(self) -> str:
        terms = [self._conjunction()]
        while self._accept("OR"):
            terms.append(self._conjunction())
        return " OR ".join(terms)

    def _conjunction(self) -> str:
        terms = [self._term()]
        while self._accept("AND"):
            terms.append(self._term())
        return " AND ".join(terms)

    def _term(self) -> str:
        if self._accept("NOT"):
            return f"NOT {self._term()}"
        if self._accept("("):
            condition = self._condition()
            self._expect(")")
            return f"({condition})"
        for function in _CONDITION_FUNCTIONS:
            if self._accept_function(function):
                return self._call(function)
        return self._comparison()

    def _call(self, function: str) -> str:
        path = self._path()
        self._expect(",")
        argument = self._operand()
        self._expect(")")
        return f"{function}({path}, {argument})"

    def _comparison(self) -> str:
        if self._accept_function("size"):
            left = f"size({self._path()})"
            self._expect(")")
        else:
            left = self._path()
        if self._accept("IS"):
            return self._is(left)
        if self._accept("IN"):
            return f"{left} IN ({', '.join(self._expression.value(value) for value in self._list())})"
        if self._accept("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return f"{left} BETWEEN {low} AND {self._operand()}"
        operator = self._take().text
        if operator not in _COMPARATORS:
            msg = f"Statement wasn't well formed, can't be processed: unexpected {operator!r}"
            raise StatementError(msg)
        return f"{left} {_COMPARATORS[operator]} {self._operand()}"

    def _is(self, path: str) -> str:
        negated = self._accept("NOT")
        if self._accept("MISSING"):
            return f"attribute_exists({path})" if negated else f"attribute_not_exists({path})"
        self._expect("NULL")
        null = self._expression.value({"S": "NULL"})
        test = f"attribute_type({path}, {null})"
        return f"NOT {test}" if negated else test

    def _complete_key(self) -> dict[str, AttributeValue]:
        missing = [name for name in self._key_names if name not in self._key]
        if missing:
            msg = "Where clause does not contain a mandatory equality on all key attributes"
            raise StatementError(msg)
        return self._key

    def _returning(self) -> dict[str, str]:
        if not self._accept("RETURNING"):
            return {}
        which = {"ALL": "ALL", "MODIFIED": "UPDATED"}[self._take().text.upper()]
        when = self._take().text.upper()
        self._expect("*")
        return {"ReturnValues": f"{which}_{when}"}

    # Paths and values

    def _path(self) -> str:
        path = self._expression.name(self._identifier())
        while True:
            if self._accept("."):
                path += f".{self._expression.name(self._identifier())}"
            elif self._accept("["):
                path += f"[{self._take().text}]"
                self._expect("]")
            else:
                return path

    def _identifier(self) -> str:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            msg = f"Statement wasn't well formed, can't be processed: unexpected {token.text!r}"
            raise StatementError(msg)
        return token.text

    def _operand(self) -> str:
        token = self._peek()
        literal = token.kind in ("text", "number") or token.text in ("?", "{", "[", "<<")
        if literal or token.text.upper() in ("TRUE", "FALSE", "NULL"):
            return self._expression.value(self._value())
        if self._tokens[self._position + 1 : self._position + 2] == [_Token("symbol", "(")]:
            msg = f"Unsupported function {token.text}"
            raise StatementError(msg)
        return self._path()

    def _value(self) -> AttributeValue:
        token = self._take()
        if token.kind == "text":
            return {"S": token.text[1:-1].replace("''", "'")}
        if token.kind == "number":
            return {"N": token.text}
        constants: dict[str, AttributeValue] = {"TRUE": {"BOOL": True}, "FALSE": {"BOOL": False}, "NULL": {"NULL": True}}
        if token.kind == "word" and token.text.upper() in constants:
            return constants[token.text.upper()]
        openers: dict[str, Callable[[], AttributeValue]] = {
            "?": self._parameter,
            "{": self._map,
            "[": lambda: {"L": self._values_until("]")},
            "<<": self._set,
        }
        if token.text not in openers:
            msg = f"Statement wasn't well formed, can't be processed: unexpected {token.text!r}"
            raise StatementError(msg)
        return openers[token.text]()

    def _parameter(self) -> AttributeValue:
        if not self._parameters:
            msg = "Number of parameters in request and statement don't match."
            raise StatementError(msg)
        return self._parameters.pop(0)

    def _map(self) -> AttributeValue:
        content: dict[str, AttributeValue] = {}
        while not self._accept("}"):
            name = self._take()
            self._expect(":")
            content[name.text[1:-1] if name.kind == "text" else name.text] = self._value()
            self._accept(",")
        return {"M": content}

    def _set(self) -> AttributeValue:
        members = self._values_until(">>")
        kind = next(iter(members[0]))
        return {f"{kind}S": [member[kind] for member in members]}

    def _list(self) -> list[AttributeValue]:
        closing = {"[": "]", "(": ")"}[self._take().text]
        return self._values_until(closing)

    def _values_until(self, closing: str) -> list[AttributeValue]:
        values = []
        while not self._accept(closing):
            values.append(self._value())
            self._accept(",")
        return values

    # Tokens

    def _peek(self) -> _Token:
        if self._position >= len(self._tokens):
            msg = "Statement wasn't well formed, can't be processed: it ends too early"
            raise StatementError(msg)
        return self._tokens[self._position]

    def _take(self) -> _Token:
        token = self._peek()
        self._position += 1
        return token

    def _at(self, word: str) -> bool:
        token = self._peek()
        return token.kind in ("word", "symbol") and token.text.upper() == word

    def _accept(self, word: str) -> bool:
        found = self._position < len(self._tokens) and self._at(word)
        self._position += found
        return found

    def _accept_function(self, name: str) -> bool:
        ahead = self._tokens[self._position : self._position + 2]
        found = len(ahead) > 1 and ahead[0].text.lower() == name and ahead[1].text == "("
        self._position += 2 * found
        return found

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            msg = f"Statement wasn't well formed, can't be processed: expected {word}"
            raise StatementError(msg)
