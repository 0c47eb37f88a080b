"""An annotated async function -> a subcommand.

@command
async def move(session: Session, id: Volume, to: Server, live: Annotated[bool, "copy live volume"] = False) -> None:
    "move a volume"

Parameters are switches, in positional order: without default required, bool a flag, a tuple many words. What a word
means, and what help calls it, says the `Kind` in its annotation; a last text there says it better. The switches that
all subcommands have come with the session.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, overload

from vos.syntax import USAGE_STATUS, Switch, Syntax, Takes, Values

if TYPE_CHECKING:
    from vos.session import Session

T = TypeVar("T")
Body = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What the words after a switch are: what help calls them, and how the session understands one.

    `parse` raises CommandError.
    """

    help: str
    parse: Callable[[Session, str], T]


@dataclass(frozen=True, slots=True)
class Alias:
    """In an annotation: another whole name of the switch, with its dash."""

    name: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """In an annotation: in no help, and to be written out."""


class CommandError(Exception):
    """The subcommand has failed: what to say on the standard error, as it stands, and the exit status.
    Without a text all has been said.
    """

    def __init__(self, text: str, status: int = USAGE_STATUS) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: how it is called, and what it does. `failure` is the exit status when an operation has failed."""

    syntax: Syntax
    body: Body
    _parameters: tuple[_Parameter, ...]
    failure: int = USAGE_STATUS

    async def run(self, session: Session, values: Values) -> None:
        """Carry it out. Raises CommandError, RxError."""
        given = [(each, values[each.switch.name]) for each in self._parameters if each.switch.name in values]
        await self.body(session, **{each.name: each.value(session, words) for each, words in given})


COMMON = (
    Switch("-cell", Takes.ONE, "cell name", aliases=("-c",)),
    Switch("-noauth", Takes.NOTHING, "don't authenticate"),
    Switch("-localauth", Takes.NOTHING, "use server tickets"),
    Switch("-verbose", Takes.NOTHING, "verbose"),
    Switch("-encrypt", Takes.NOTHING, "encrypt commands"),
    Switch("-noresolve", Takes.NOTHING, "don't resolve addresses"),
    Switch("-config", Takes.ONE, "config location"),
)
"""The switches of every subcommand, after its own."""


@overload
def command(body: Body, /) -> Command: ...
@overload
def command(
    *, aliases: tuple[str, ...] = (), stock: bool = True, failure: int = USAGE_STATUS
) -> Callable[[Body], Command]: ...
def command(
    body: Body | None = None, /, *, aliases: tuple[str, ...] = (), stock: bool = True, failure: int = USAGE_STATUS
) -> Command | Callable[[Body], Command]:
    """Make a function the subcommand of its name; what it does is the first line of its docstring. One that is not
    `stock` takes no abbreviation away from those that are. `failure` is the exit status when an operation fails.
    """

    def declare(body: Body) -> Command:
        _session, *others = inspect.signature(body, eval_str=True).parameters.values()
        parameters = tuple(_Parameter.of(each) for each in others)
        text = (body.__doc__ or "").partition("\n")[0]
        switches = (*(each.switch for each in parameters), *COMMON)
        syntax = Syntax(getattr(body, "__name__", ""), text, switches, aliases, yields=not stock)
        return Command(syntax, body, parameters, failure)

    return declare if body is None else declare(body)


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of the function, and its switch."""

    name: str
    switch: Switch
    kind: Kind[Any] | None

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> _Parameter:
        """From its annotation and default."""
        value_type, extras = _unwrapped(parameter.annotation)
        texts = [each for each in extras if isinstance(each, str)]
        kind = next((each for each in extras if isinstance(each, Kind)), None)
        help_text = texts[-1] if texts else kind.help if kind else ""
        many = get_origin(value_type) is tuple
        if many and kind is None:
            value_type, inner = _unwrapped(get_args(value_type)[0])
            kind = next((each for each in inner if isinstance(each, Kind)), None)
            help_text = help_text or (kind.help if kind else "")
        assert help_text, f"{parameter}: no help"
        assert kind is not None or value_type in (bool, str), f"{parameter}: no kind"
        switch = Switch(
            "-" + parameter.name.removesuffix("_").replace("_", "-"),
            Takes.MANY if many else Takes.NOTHING if value_type is bool else Takes.ONE,
            help_text,
            required=parameter.default is parameter.empty,
            aliases=tuple(each.name for each in extras if isinstance(each, Alias)),
            hidden=any(isinstance(each, Hidden) for each in extras),
        )
        return cls(parameter.name, switch, kind)

    def value(self, session: Session, words: Sequence[str]) -> Any:
        """What the function gets. Raises CommandError."""
        if self.switch.takes is Takes.NOTHING:
            return True
        values = tuple(self.kind.parse(session, word) if self.kind else word for word in words)
        return values if self.switch.takes is Takes.MANY else values[0]


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type and the extras of an annotation, also where it is Annotated | None."""
    if get_origin(annotation) in (Union, UnionType):
        wanted = [each for each in get_args(annotation) if each is not NoneType]
        annotation = wanted[0] if len(wanted) == 1 else annotation
    if get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        value_type, more = _unwrapped(inner)
        return value_type, (*more, *extras)
    return annotation, ()
