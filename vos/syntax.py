"""The rules by which OpenAFS programs read their words, and the help they give: those of its command library.

Switches have one dash (two are taken too) and may be shortened to what tells them apart; what comes before the first
switch with a value fills the switches in order. Nothing here knows what a command does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

WIDTH = 78
"""Columns of a usage line."""

INDENT = 8
"""Columns before what is carried over to the next one."""

USAGE_STATUS = 255
"""What OpenAFS programs end with when they were called wrongly, and vos also when something failed."""


class Takes(Enum):
    """What comes after a switch."""

    NOTHING = 0
    ONE = 1
    MANY = 2


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch with its dash. `help` is what its value is, or of a flag what it does."""

    name: str
    takes: Takes
    help: str
    required: bool = False
    aliases: tuple[str, ...] = ()
    hidden: bool = False


HELP = Switch("-help", Takes.NOTHING, "get detailed help")


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a subcommand is called. A hidden one is in no list, and its name cannot be shortened. One that `yields` is
    not of the original program: what shortens a name of that goes on meaning it.
    """

    name: str
    help: str
    switches: tuple[Switch, ...] = ()
    aliases: tuple[str, ...] = ()
    alias_of: str = ""
    hidden: bool = False
    yields: bool = False

    def named(self) -> Iterator[Syntax]:
        """Itself, and what it is by each of its aliases."""
        yield self
        for alias in self.aliases:
            yield replace(self, name=alias, aliases=(), alias_of=self.name)


class UsageError(Exception):
    """The words make no sense; the message says why, as the command library does."""


class UnknownName(UsageError):
    """No subcommand is called so, or several could be meant."""

    def __init__(self, text: str, ambiguous: bool) -> None:
        super().__init__(text)
        self.ambiguous = ambiguous


class HelpWanted(Exception):
    """-help was among the words."""


Values = Mapping[str, Sequence[str]]
"""The words of each switch that was given, by its name; of a flag none."""


def parse(program: str, syntax: Syntax, words: Iterable[str]) -> Values:
    """The values of a subcommand's switches. Raises UsageError, HelpWanted."""
    reader = _Reader(program, syntax)
    for word in words:
        if word.startswith("-") and not word[1:2].isdigit():  # a negative number is a value
            reader.switch(word)
        else:
            reader.value(word)
    reader.finish()
    return reader.values


class _Reader:
    """The state between two words."""

    def __init__(self, program: str, syntax: Syntax) -> None:
        self.values: dict[str, list[str]] = {}
        self._program = program
        self._syntax = syntax
        self._switches = (*syntax.switches, HELP)
        self._at = 0
        self._positional = True
        self._named: set[str] = set()
        lists = [each.name for each in self._switches if each.takes is Takes.MANY]
        self._last_list = lists[-1] if lists else ""

    def switch(self, word: str) -> None:
        """A word with a dash. A value may be in it, behind the last `=`."""
        name, equals, value = word.rpartition("=")
        index = find_switch(self._switches, name if equals else word)
        if index is None:
            raise self._error(
                f"Unrecognized or ambiguous switch '{word}'; "
                f"type '{self._program} help {self._syntax.name}' for detailed help"
            )
        found = self._switches[index]
        if found.takes is Takes.NOTHING:
            if equals:
                raise self._error(f"Switch '{found.name}' doesn't take an argument")
            self.values[found.name] = []
            return
        self._positional = False
        self._at = index
        self._named.add(found.name)
        if equals:
            self._add(found, value)

    def value(self, word: str) -> None:
        """A word without."""
        while self._at < len(self._switches) and self._passed_over(self._switches[self._at]):
            self._at += 1
        if self._at == len(self._switches):
            raise self._error("Too many arguments")
        found = self._switches[self._at]
        self._add(found, word)
        if self._positional and found.name != self._last_list:
            later = range(self._at + 1, len(self._switches))
            self._at = next((each for each in later if self._switches[each].takes is not Takes.NOTHING), self._at)

    def finish(self) -> None:
        """There are no more words."""
        if HELP.name in self.values:
            raise HelpWanted
        for switch in self._switches:
            if switch.name in self.values:
                continue
            if switch.name in self._named:
                raise UsageError(f"{self._program}:  The field '{switch.name}' isn't completed properly")
            if switch.required:
                raise self._error(f"Missing required parameter '{switch.name}'")

    def _add(self, switch: Switch, word: str) -> None:
        if switch.takes is Takes.ONE and switch.name in self.values:
            raise self._error(f"Too many values after switch {switch.name}")
        self.values.setdefault(switch.name, []).append(word)

    def _passed_over(self, switch: Switch) -> bool:
        return switch.takes is Takes.NOTHING or (switch.hidden and switch.name not in self._named)

    def _error(self, text: str) -> UsageError:
        return UsageError(f"{self._program}: {text}")


def find_switch(switches: Sequence[Switch], word: str) -> int | None:
    """The one a word means: its whole name or an alias of it, or what only one name begins with."""
    if word.startswith("--") and len(word) >= 4:
        word = word[1:]
    begun: list[int] = []
    for index, switch in enumerate(switches):
        if switch.name == word:
            return index
        if len(switch.name) < len(word):
            continue
        if word in switch.aliases:
            return index
        if not switch.hidden and switch.name.startswith(word):
            begun.append(index)
    return begun[0] if len(begun) == 1 else None


def find_syntax(program: str, syntaxes: Iterable[Syntax], word: str) -> Syntax:
    """The subcommand that a word means: its whole name, an alias, or how only one begins. Raises UnknownName."""
    begun: dict[str, Syntax] = {}
    yielding: dict[str, Syntax] = {}
    for each in sorted((each for syntax in syntaxes for each in syntax.named()), key=lambda each: each.name):
        if each.name == word:
            return each
        if not each.hidden and each.name.startswith(word):
            (yielding if each.yields else begun).setdefault(each.alias_of or each.name, each)
    begun = begun or yielding
    if len(begun) == 1:
        return next(iter(begun.values()))
    what = "Ambiguous" if begun else "Unrecognized"
    raise UnknownName(f"{program}: {what} operation '{word}'; type '{program} help' for list", bool(begun))


def usage(program: str, syntax: Syntax) -> str:
    """The lines that -help prints."""
    lines = [f"Usage: {program} {syntax.name}"]
    for switch in (*syntax.switches, HELP):
        if switch.hidden:
            continue
        text = " | ".join((switch.name, *switch.aliases)) + _value_help(switch)
        shown = text if switch.required else f"[{text}]"
        if len(lines[-1]) + 1 + len(shown) > WIDTH:
            lines.append(" " * INDENT)
        lines[-1] += f" {shown}"
    return "".join(f"{line}\n" for line in lines)


def topic(program: str, syntax: Syntax) -> str:
    """What `help` prints of one subcommand."""
    other = f"(alias for {syntax.alias_of})" if syntax.alias_of else ""
    aliases = f"aliases: {''.join(f'{alias} ' for alias in syntax.aliases)}\n" if syntax.aliases else ""
    return f"{program} {syntax.name}: {syntax.help} {other}\n{aliases}{usage(program, syntax)}{_flag_help(syntax)}"


def _value_help(switch: Switch) -> str:
    return {Takes.NOTHING: "", Takes.ONE: f" <{switch.help}>", Takes.MANY: f" <{switch.help}>+"}[switch.takes]


def _flag_help(syntax: Syntax) -> str:
    flags = [each for each in syntax.switches if each.takes is Takes.NOTHING and not each.hidden]
    width = max((len(flag.name) for flag in flags), default=0)
    firsts = ["Where:"] + [""] * len(flags)
    return "".join(f"{first:<7}{flag.name:<{width}}  {flag.help}\n" for first, flag in zip(firsts, flags, strict=False))
