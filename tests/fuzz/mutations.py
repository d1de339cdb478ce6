"""JSON that is almost an event: the samples with types swapped, parts missing, doubled or moved, and texts that want to be something else.

Everything is drawn from one seed, so that the number of an event is all it takes to see it again.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

type Place = tuple[Any, Any]
"""A container and the key or index of a part of it."""
type Path = tuple[str | int, ...]
"""The keys and indexes that lead to a part of a value."""

MOST_MUTATIONS = 4
WHOLE_SHARE = 0.03
"""Of so many events nothing is left of the sample."""

LARGE_SHARE = 0.02
"""Of so many texts and nestings, one is large: that takes time."""

DEEP = (30, 900, 5000, 9000)
"""Depths of nesting; the runtime's own parser takes no more than about 10,000."""

LONG = (300, 1100, 3000, 70_000, 240_000)
"""Lengths of texts: over what is shown, over the table's sort key (1,024 bytes) and partition key (2,048), up to an event's 256 KB."""

WORDS = (
    "",
    " ",
    "null",
    "\x00",
    "\x1b[2J\x1b]0;owned\x07\x1b[31m",
    "\r\nERROR forged line",
    '"}\n{"event":"notice_received"}',
    "\u2028\u202e\ufeff\x85",
    "\ud800",
    "\udfff\ud83d",
    "i-\ud800",
    "i-1234567890abcdef0\n",
    "i-1234567890ABCDEF0",
    "i-\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
    "i-12345678 i-87654321",
    "mi-1234567890abcdef0",
    "i-1234567890abcdef0:interruption:terminate:1763805720",
    "i-1234567890abcdef0#interruption#2026-11-22T10:00:00Z",
    "00000000000\u0660",
    "us-east-1\n",
    "us-gov-west-1",
    "terminate; reboot",
    "TERMINATE",
    "running",
    "InProgress",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "9998-12-31T23:59:59Z",
    "2026-11-22T10:00:00",
    "2026-11-22T10:00:00.999999999Z",
    "2026-W47-7T10:00Z",
    "20261122T100000Z",
    "2026-11-22T24:00:00Z",
    "2026-13-45T99:99:99Z",
    "-2026-11-22T10:00:00Z",
    "%s%n%x {0.__class__} ${env:PATH} {{ssm:secret}} ${jndi:ldap://x/a}",
    "__import__('os').system('touch {canary}')",
    "$(touch {canary})",
    "`touch {canary}`",
    "'; touch {canary} #",
    '" || touch {canary} || "',
    "|| touch {canary}\n",
    "' OR 1=1; DROP TABLE notices --",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 10**4000, 0.1, -0.0, 5e-324, 1e308, float("inf"), float("-inf"), float("nan"))

LARGE = ("A" * LONG[-1], "\U0001f4a5" * 3000, "\x1b[" * 3000, ["i-"] * 3000, {"S": "0" * LONG[-1]})
VALUES: tuple[Any, ...] = (*WORDS, *NUMBERS, *LARGE, None, True, [], {}, [[]], {"S": {}}, {"L": [{"M": {}}]})
"""All that is put into each field once."""

FRAGMENTS = (
    "{0.__class__}",
    "{x!r:>9}",
    "{{x}}",
    "%(x)s",
    "%s",
    "%n",
    "%41",
    "$x",
    "${env:PATH}",
    "${jndi:ldap://x/a}",
    "{{ssm:secret}}",
    "{% $states.input %}",
    "$(id)",
    "`id`",
    "' OR '1'='1",
    '"; x="',
    r"\x41",
    r"\u0041\n",
    "&lt;&amp;",
    "<!--x-->",
    "~/*?[a-z]",
    "@./x",
)
"""What format strings, shells, JSONata, PartiQL, Systems Manager, logging libraries, XML or JSON would make something else of."""


@dataclass(slots=True)
class Mutations:
    """Draws almost-events. ``canary`` is the file that texts made like commands would create."""

    random: Random
    canary: str

    def of(self, samples: Sequence[str]) -> str:
        """Return the JSON text of something that was one of the samples."""
        holder = [self.value(2) if self.random.random() < WHOLE_SHARE else json.loads(self.random.choice(samples))]
        for _ in range(self.random.randint(1, MOST_MUTATIONS)):
            self._mutate(holder)
        return json.dumps(holder[0] if holder else None)

    def word(self) -> str:
        """Return a text that wants to be something else."""
        if self.random.random() < LARGE_SHARE:
            return self.random.choice(("A", "é", "\U0001f4a5", "\x1b[", "0", "i-")) * self.random.choice(LONG)
        return self.random.choice(WORDS).replace("{canary}", self.canary)

    def hostile(self) -> str:
        """Return what a user may put into a tag or print in a hook."""
        return self.random.choice(("\n", " ")).join(self.word() for _ in range(3))

    def value(self, depth: int = 1) -> Any:
        """Return any JSON value."""
        kind = self.random.choice(("word", "word", "number", "constant", "list", "object", "deep") if depth else ("word", "number", "constant"))
        match kind:
            case "word":
                return self.word()
            case "number":
                return self.random.choice(NUMBERS)
            case "constant":
                return self.random.choice((None, True, False, [], {}))
            case "list":
                return [self.value(depth - 1) for _ in range(self.random.randint(0, 4))]
            case "object":
                return {self.word(): self.value(depth - 1) for _ in range(self.random.randint(0, 4))}
        return self._deep()

    def _deep(self) -> Any:
        if self.random.random() >= LARGE_SHARE:
            return [{"detail": [{"S": [[[]]]}]}]
        value: Any = self.random.choice((None, "i-1234567890abcdef0"))
        is_list = self.random.random() < 0.5
        for _ in range(self.random.choice(DEEP)):
            value = [value] if is_list else {"detail": value}
        return value

    def _mutate(self, holder: list[Any]) -> None:
        found = places(holder)
        if found:
            self.random.choice(CHANGES)(self, *self.random.choice(found))

    def _replace(self, part: Any, key: Any) -> None:
        part[key] = self.value()

    def _remove(self, part: Any, key: Any) -> None:
        del part[key]

    def _wrap(self, part: Any, key: Any) -> None:
        part[key] = self.random.choice(([part[key]], {"S": part[key]}, {"detail": part[key]}, str(part[key])[:1000]))

    def _rename(self, part: Any, key: Any) -> None:
        if isinstance(part, dict):
            name = self.random.choice((key.upper(), key.replace("-", "_"), f"{key} ", self.word()))
            part[name] = part.pop(key)

    def _add(self, part: Any, _key: Any) -> None:
        if isinstance(part, dict):
            part[self.word()] = self.value()
        else:
            part.insert(self.random.randint(0, len(part)), self.value())

    def _repeat(self, part: Any, key: Any) -> None:
        if isinstance(part, list):
            part.append(part[key])

    def _swap(self, part: Any, key: Any) -> None:
        other = self.random.choice(list(part) if isinstance(part, dict) else range(len(part)))
        part[key], part[other] = part[other], part[key]

    def _edit(self, part: Any, key: Any) -> None:
        text = part[key]
        if not isinstance(text, str):
            return
        at = self.random.randint(0, len(text))
        part[key] = self.random.choice((text[:at], text[at:], text[:at] + self.word() + text[at:], text[:at] + self.word(), text * 2, text.upper()))


CHANGES: tuple[Callable[[Mutations, Any, Any], None], ...] = (
    Mutations._replace,
    Mutations._replace,
    Mutations._remove,
    Mutations._wrap,
    Mutations._rename,
    Mutations._add,
    Mutations._repeat,
    Mutations._swap,
    Mutations._edit,
    Mutations._edit,
)


def places(root: Any) -> list[Place]:
    """Return every place in a value that may be changed."""
    found: list[Place] = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        keys = list(part) if isinstance(part, dict) else range(len(part))
        found += [(part, key) for key in keys]
        waiting += [part[key] for key in keys if isinstance(part[key], dict | list)]
    return found


def kinds_of_field(root: Any) -> dict[Path, Path]:
    """Return a path for each kind of field: the first of those that differ in their indexes alone."""
    found: dict[Path, Path] = {}
    for path in _paths(root, ()):
        found.setdefault(tuple("*" if isinstance(key, int) else key for key in path), path)
    return found


def _paths(part: Any, path: Path) -> Iterator[Path]:
    keys: Sequence[str | int] = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in keys:
        yield (*path, key)
        yield from _paths(part[key], (*path, key))


def with_value(root: Any, path: Path, value: Any) -> Any:
    """Return a copy of a value that has another part at a path."""
    copy = part = deepcopy(root)
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return copy
