"""The program: finds the subcommand, and runs it in a session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from vos.command import Command, CommandError
from vos.options import Options
from vos.output import Output
from vos.syntax import (
    USAGE_STATUS,
    HelpWanted,
    Switch,
    Syntax,
    Takes,
    UnknownName,
    UsageError,
    find_syntax,
    parse,
    topic,
    usage,
)

PROGRAM = "vos"

HELP, APROPOS, VERSION, COMPLETION = "help", "apropos", "version", "completion"

BUILT_IN = (
    Syntax(HELP, "get help on commands", (Switch("-topic", Takes.MANY, "help string"),)),
    Syntax(APROPOS, "search by help text", (Switch("-topic", Takes.ONE, "help string", required=True),)),
    Syntax(VERSION, "show version"),
    Syntax(COMPLETION, "", hidden=True),
    *(Syntax(dashes + VERSION, "", hidden=True) for dashes in ("-", "--")),
    *(Syntax(dashes + HELP, "", hidden=True) for dashes in ("-", "--")),
)
"""What needs no cell."""

_COMMANDS = Path(__file__).with_name("commands")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # names are bytes, and leave as they came
    try:
        status = _main(words)
        sys.stdout.flush()
    except (UsageError, CommandError) as problem:
        sys.stdout.flush()
        sys.stderr.write(problem.text if isinstance(problem, CommandError) else f"{problem}\n")
        status = problem.status if isinstance(problem, CommandError) else USAGE_STATUS
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end
        status = USAGE_STATUS
    return status


def _main(words: Sequence[str]) -> int:
    if not words:
        sys.stdout.write(f"{PROGRAM}: Type '{PROGRAM} help' or '{PROGRAM} help <topic>' for help\n")
        return USAGE_STATUS
    name, *rest = words
    command = exact(name)
    known = [command.syntax] if command else [*BUILT_IN, *(each.syntax for each in every_command())]
    syntax = find_syntax(PROGRAM, known, name)
    try:
        values = parse(PROGRAM, syntax, rest)
    except HelpWanted:
        sys.stdout.write(usage(PROGRAM, syntax))
        return 0
    if syntax.name.lstrip("-") == HELP:
        return _help(known, values.get("-topic", ()))
    if syntax.name == APROPOS:
        sys.stdout.write(apropos(known, values["-topic"][0]))
        return 0
    if syntax.name == COMPLETION:
        from vos.completion import script

        sys.stdout.write(script(known))
        return 0
    if syntax.name.lstrip("-") == VERSION:
        sys.stdout.write(f"{version()}\n")
        return 0
    from vos.run import run

    command = command or exact(syntax.alias_of or syntax.name)
    assert command is not None
    options = Options.of(values)
    return run(command, values, options, Output(sys.stdout, sys.stderr, options.verbose, options.repeated()))


def exact(name: str) -> Command | None:
    """The subcommand of that very name; nothing else is imported."""
    if not name.isidentifier() or name.startswith("_") or not (_COMMANDS / f"{name}.py").is_file():
        return None
    found: Command = getattr(import_module(f"vos.commands.{name}"), name)
    return found


def every_command() -> list[Command]:
    """All that are in `vos.commands`, by name."""
    names = sorted(path.stem for path in _COMMANDS.glob("*.py"))
    return [command for name in names if (command := exact(name)) is not None]


def apropos(known: Iterable[Syntax], text: str) -> str:
    """The lines about subcommands that have this text in their name or help."""
    found = [each for each in _shown(known) if text in each.help or text in each.name]
    return "".join(f"{each.name}: {each.help}\n" for each in found) or "Sorry, no commands found\n"


def version() -> str:
    """What -version prints."""
    from importlib import metadata

    try:
        return f"txafs {metadata.version('txafs')}"
    except metadata.PackageNotFoundError:
        return "txafs, from a checkout"


def _help(known: Sequence[Syntax], topics: Sequence[str]) -> int:
    """Stock's exit status is that of the last topic."""
    if not topics:
        lines = "".join(f"{each.name:<15} {each.help}\n" for each in _shown(known))
        sys.stdout.write(f"{PROGRAM}: Commands are:\n{lines}")
        return 0
    status = 0
    for word in topics:
        try:
            sys.stdout.write(topic(PROGRAM, find_syntax(PROGRAM, _shown(known), word)))
            status = 0
        except UnknownName as unknown:
            text = (
                f"Ambiguous topic '{word}'; use 'apropos' to list" if unknown.ambiguous else f"Unknown topic '{word}'"
            )
            sys.stdout.flush()
            sys.stderr.write(f"{PROGRAM}: {text}\n")
            status = USAGE_STATUS
    return status


def _shown(known: Iterable[Syntax]) -> list[Syntax]:
    return sorted((each for each in known if not each.hidden), key=lambda each: each.name)
