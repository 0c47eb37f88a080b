"""Fault rules: a script is a table of them, one a line.

    ACTION [ARGUMENT] [CONDITION=VALUE]...      # a comment

ACTIONS and CONDITIONS below are the whole language. Of the rules that apply to a packet or a call, the first decides;
each counts what it is for, whichever decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Protocol

from rx.constants import PacketType
from rx.peer import Address
from rx.taps.packets import Names

MAXIMUM_SECONDS = 86400.0
"""What a delay or hold may last, a day: nobody waits longer, and a mistyped number is found."""

MAXIMUM_COPIES = 100
"""Duplicates of one packet: more than any network makes, and no amplifier."""

MAXIMUM_OFFSET = 65535
"""Of the byte to corrupt: no datagram is longer."""


class BadScript(ValueError):
    """A script says something that is no rule; the message has file and line."""


class Action(Enum):
    """What a rule does. To packets, as a network might; or to calls, as a server might."""

    DROP = auto()
    DUPLICATE = auto()
    DELAY = auto()
    REORDER = auto()
    CORRUPT = auto()
    ANSWER = auto()
    HOLD = auto()


class Subject(Protocol):
    """What the conditions ask of a packet or a call."""

    @property
    def incoming(self) -> bool: ...
    @property
    def peer(self) -> Address: ...
    @property
    def type(self) -> int: ...
    @property
    def service_id(self) -> int: ...
    @property
    def service(self) -> str: ...
    @property
    def opcode(self) -> int | None: ...
    @property
    def operation(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Called:
    """A call to be served, as rules see it."""

    peer: Address
    service_id: int
    service: str
    opcode: int
    operation: str
    incoming: bool = True
    type: int = int(PacketType.DATA)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words a script may use: names of services and RPCs, and `code`, which turns a code's name into its number
    or raises ValueError.
    """

    names: Names
    code: Callable[[str], int]


Predicate = Callable[[Subject], bool]


@dataclass(slots=True)
class Rule:
    """One line of a script, and how often it has matched."""

    text: str
    action: Action
    argument: float | None
    predicates: tuple[Predicate, ...] = ()
    first: int = 1
    last: float = float("inf")
    probability: float = 1.0
    random: Random = field(default_factory=lambda: Random(0))
    matches: int = 0

    def applies(self, subject: Subject) -> bool:
        """Whether this subject is one the rule is for; it is counted if all but `nth` and `probability` hold."""
        if not all(predicate(subject) for predicate in self.predicates):
            return False
        self.matches += 1
        if not self.first <= self.matches <= self.last:
            return False
        return self.probability >= 1.0 or self.random.random() < self.probability


def first_of(rules: Iterable[Rule], subject: Subject) -> Rule | None:
    """The rule that decides about a packet or a call. The others have counted it all the same."""
    applying = [rule for rule in rules if rule.applies(subject)]
    return applying[0] if applying else None


def parse(text: str, where: str, vocabulary: Vocabulary) -> list[Rule]:
    """The rules of a script. Raises BadScript; `where` names the file in it."""
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        try:
            if words:
                rules.append(_rule(words, vocabulary))
        except ValueError as problem:
            raise BadScript(f"{where}:{number}: {problem}") from problem
    return rules


def _rule(words: list[str], vocabulary: Vocabulary) -> Rule:
    name, *rest = words
    if name not in ACTIONS:
        raise ValueError(f"{name!r}: an action is one of {', '.join(ACTIONS)}")
    form = ACTIONS[name]
    arguments = [word for word in rest if "=" not in word]
    if len(arguments) > 1 or (form.argument is None and arguments):
        raise ValueError(f"{name}: one argument too many: {arguments[-1]}")
    argument = form.default
    if arguments and form.argument is not None:
        argument = form.argument(arguments[0], vocabulary)
    elif form.required:
        raise ValueError(f"{name} needs an argument: {form.required}")
    rule = Rule(" ".join(words), form.action, argument)
    for word in rest:
        condition, equals, value = word.partition("=")
        if not equals:
            continue
        if condition not in form.conditions:
            raise ValueError(f"{condition!r}: a condition of {name} is one of {', '.join(form.conditions)}")
        CONDITIONS[condition](rule, value, vocabulary)
    return rule


def _seconds(word: str, vocabulary: Vocabulary) -> float:
    return _within(float, word, 0.0, MAXIMUM_SECONDS)


def _copies(word: str, vocabulary: Vocabulary) -> float:
    return _within(int, word, 1, MAXIMUM_COPIES)


def _offset(word: str, vocabulary: Vocabulary) -> float:
    return _within(int, word, 0, MAXIMUM_OFFSET)


def _code(word: str, vocabulary: Vocabulary) -> float:
    return int(word) if word.lstrip("-").isdigit() else vocabulary.code(word)


def _within(kind: type[int | float], word: str, least: float, most: float) -> float:
    value = kind(word)
    if not least <= value <= most:
        raise ValueError(f"{word} is not between {least:g} and {most:g}")
    return value


def _direction(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    incoming = {"in": True, "out": False}.get(value)
    if incoming is None:
        raise ValueError(f"direction={value}: in or out, as the server sees it")
    rule.predicates += (lambda subject: subject.incoming is incoming,)


def _peer(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    host, _, port = value.partition(":")
    network, wanted = IPv4Network(host), _within(int, port, 1, 0xFFFF) if port else None
    rule.predicates += (
        lambda subject: IPv4Address(subject.peer[0]) in network and wanted in (None, subject.peer[1]),
    )  # fmt: skip


def _type(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    unknown = [name for name in value.split(",") if name not in PacketType.__members__]
    if unknown:
        raise ValueError(f"type={unknown[0]}: one of {', '.join(PacketType.__members__)}")
    types = {int(PacketType[name]) for name in value.split(",")}
    rule.predicates += (lambda subject: subject.type in types,)


def _service(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    words = _known(value, vocabulary.names.services, "service")
    rule.predicates += (lambda subject: subject.service in words or str(subject.service_id) in words,)


def _opcode(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    words = _known(value, vocabulary.names.opcodes, "opcode")
    rule.predicates += (
        lambda subject: subject.opcode is not None and not words.isdisjoint((subject.operation, str(subject.opcode))),
    )


def _known(value: str, names: frozenset[str], what: str) -> set[str]:
    words = set(value.split(","))
    unknown = sorted(word for word in words if word not in names and not word.isdigit())
    if unknown:
        raise ValueError(f"{what}={unknown[0]}: neither a number nor the name of one")
    return words


def _nth(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    first, dash, last = value.partition("-")
    rule.first = int(first)
    rule.last = int(last) if last else float("inf") if dash else rule.first
    if not 1 <= rule.first <= rule.last:
        raise ValueError(f"nth={value}: N, N-M or N-, counted from 1")


def _probability(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    rule.probability = _within(float, value, 0.0, 1.0)


def _seed(rule: Rule, value: str, vocabulary: Vocabulary) -> None:
    rule.random = Random(value)


CONDITIONS: dict[str, Callable[[Rule, str, Vocabulary], None]] = {
    "direction": _direction,
    "type": _type,
    "peer": _peer,
    "service": _service,
    "opcode": _opcode,
    "nth": _nth,
    "probability": _probability,
    "seed": _seed,
}
"""Name of a condition -> what adds it to a rule."""

ANY = tuple(CONDITIONS)
OF_CALLS = tuple(name for name in CONDITIONS if name not in ("direction", "type"))


@dataclass(frozen=True, slots=True)
class Form:
    """How an action is written."""

    action: Action
    conditions: tuple[str, ...]
    argument: Callable[[str, Vocabulary], float] | None = None
    required: str = ""
    default: float | None = None


ACTIONS: dict[str, Form] = {
    "drop": Form(Action.DROP, ANY),
    "duplicate": Form(Action.DUPLICATE, ANY, _copies, default=1),
    "delay": Form(Action.DELAY, ANY, _seconds, required="seconds"),
    "reorder": Form(Action.REORDER, ANY),
    "corrupt": Form(Action.CORRUPT, ANY, _offset),
    "answer": Form(Action.ANSWER, OF_CALLS, _code, required="an error code or its name"),
    "hold": Form(Action.HOLD, OF_CALLS, _seconds),
}
"""First word of a rule -> how the rest is read."""

ON_CALLS = frozenset({Action.ANSWER, Action.HOLD})
