"""The switch rules, against stock vos called with the same words: what it says, where, and its exit status."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.support.budget import budget
from vos.command import CommandError
from vos.main import BUILT_IN, every_command
from vos.options import Options
from vos.syntax import (
    HELP,
    USAGE_STATUS,
    HelpWanted,
    Switch,
    Syntax,
    Takes,
    UsageError,
    find_syntax,
    parse,
    topic,
    usage,
)

NOWHERE = "-config=/nonexistent/directory"
"""Last among the words, so that no stock program ever finds a cell to talk to."""

SECONDS = 10.0
"""For stock vos to say what it says in milliseconds."""

_SHOWN = re.compile(r"\[(-[^]]*)]|(-\S+(?: <[^>]*>\+?)?)")
"""A switch in a usage, one that may be left out or one that may not."""


@dataclass(frozen=True)
class Said:
    """A program's answer."""

    status: int
    out: str
    err: str


class StockRules(SynchronousTestCase):
    """Ours is made from the usage that stock vos prints, and then behaves as it does."""

    skip = None if shutil.which("vos") else "stock vos is not installed"

    def setUp(self) -> None:
        listed = stock("help").out.splitlines()[1:]
        helps = {line[:15].strip() if line[15:16] == " " else line.split()[0]: line for line in listed}
        self.known = [read(name, stock("help", name).out) for name in helps]
        self.assertGreater(len(self.known), 40)

    def test_help(self) -> None:
        """`help` of every subcommand, its aliases, and -help: line for line."""
        for syntax in self.known:
            for each in syntax.named():
                self.assertEqual(topic("vos", each), stock("help", each.name).out)
                self.assertEqual(usage("vos", each), stock(each.name, "-help").out)

    def test_own_subcommands(self) -> None:
        """Ours that stock has too have its switches and help; what they are shortened to means the same with both."""
        names = {syntax.name for syntax in self.known}
        own = [command.syntax for command in every_command()]
        built_in = {syntax.name for syntax in BUILT_IN}
        self.assertEqual(names - built_in - {syntax.name for syntax in own}, set(), "stock has more")
        for syntax in own:
            self.assertEqual(syntax.yields, syntax.name not in names)
            if syntax.name in names:
                self.assertEqual(topic("vos", syntax), stock("help", syntax.name).out)
        both = [*self.known, *(syntax for syntax in own if syntax.yields)]
        for word in sorted({name[:size] for name in names for size in range(1, len(name))}):
            self.assertEqual(found(both, word), found(self.known, word), word)
        self.assertEqual(found(both, "listpartit"), "listpartitions")

    def test_names(self) -> None:
        """Whatever a subcommand's name is shortened to."""
        prefixes = {name[:size] for syntax in self.known for name in (syntax.name,) for size in range(len(name) + 1)}
        for word in sorted(prefixes | {"xyz", "-x", "E", "volinf", "vol"}):
            self.assertEqual(self.ours(word, "-help"), stock(word, "-help"), word)

    def test_words(self) -> None:
        """Random words: switches whole and shortened, values, and nonsense."""
        spent = budget("vos.switches", full=20_000)
        random = Random(spent.seed)
        for _ in range(spent.count):
            words = some_words(random, random.choice(self.known))
            ours, theirs = self.ours(*words), stock(*words)
            if ours.err.startswith("vos: Too many values"):  # which stock says, and goes on when the value was after =
                self.assertTrue(theirs.err.startswith(ours.err), words)
            else:
                self.assertEqual(ours, theirs, words)

    def ours(self, *words: str) -> Said:
        """What our rules make of it, up to where a cell is needed."""
        try:
            syntax = find_syntax("vos", self.known, words[0])
            values = parse("vos", syntax, words[1:])
        except UsageError as problem:
            return Said(USAGE_STATUS, "", f"{problem}\n")
        except HelpWanted:
            return Said(0, usage("vos", syntax), "")
        try:
            Options.of(values).find_cell()
        except CommandError as problem:
            return Said(problem.status, "", problem.text)
        raise AssertionError("there is no such directory")


def stock(*words: str) -> Said:
    """What stock vos says."""
    command = ["vos", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def found(known: Iterable[Syntax], word: str) -> str:
    """The subcommand that a word means, or the complaint."""
    try:
        return find_syntax("vos", known, word).name
    except UsageError as problem:
        return str(problem)


def read(name: str, text: str) -> Syntax:
    """The syntax that a help text is of."""
    first, _, rest = text.partition("\n")
    aliases = re.search(r"^aliases: (.*)$", rest, re.MULTILINE)
    shown = " ".join(rest[rest.index("Usage:") :].partition("Where:")[0].split())
    flags = dict(re.findall(r"^(?:Where:| {6}) (-\S+) +(.*)$", rest, re.MULTILINE))
    switches = []
    for optional, required in _SHOWN.findall(shown.removeprefix(f"Usage: vos {name} ")):
        names, angle, value = (optional or required).partition(" <")
        switch, *others = names.split(" | ")
        takes = Takes.MANY if value.endswith("+") else Takes.ONE if angle else Takes.NOTHING
        help_text = value.rstrip(">+") if angle else flags.get(switch, "")
        if switch != HELP.name:
            switches.append(Switch(switch, takes, help_text, bool(required), tuple(others)))
    help_text = first.removeprefix(f"vos {name}: ")[:-1]
    return Syntax(name, help_text, tuple(switches), tuple(aliases[1].split()) if aliases else ())


def some_words(random: Random, syntax: Syntax) -> list[str]:
    """A call of a subcommand that may make sense."""
    names = [each.name for each in syntax.switches] + [HELP.name] * (random.random() < 0.1)
    words = [syntax.name]
    for _ in range(random.randrange(9)):
        switch = random.choice(names) if names else "-none"
        cut = switch[: random.randint(2, len(switch))]
        words.append(
            random.choice(
                (
                    "value",
                    "v2",
                    str(random.randrange(-9, 99)),
                    switch,
                    switch,
                    cut,
                    f"-{switch}",
                    f"-{cut}",
                    f"{cut}=value",
                    f"{switch}=a=b",
                    random.choice(("", "-", "--", "-zzz", "-c", "-f", "--x")),
                )
            )
        )
    return [*words, NOWHERE]
