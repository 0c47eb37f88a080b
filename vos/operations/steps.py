"""The steps of operations: what is said when one fails, in stock's words, which scripts and people look for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from io import StringIO

from rx.errors import RxError
from vos.errors import OperationFailed, error_text
from vos.session import Session


@contextmanager
def step(session: Session, text: str, *, explained: bool = False) -> Iterator[None]:
    """An error in here fails the operation. The text is said at once; with `explained` between an empty line and what
    the code means, as stock's EPRINT has it.
    """
    try:
        yield
    except RxError as problem:
        session.output.complain(f"\n{text}\n   {error_text(problem.code)}" if explained else text)
        raise OperationFailed(problem.code, text) from problem


@contextmanager
def doing(session: Session, text: str, failed: str = "", *, explained: bool = True) -> Iterator[None]:
    """A step that is told of while it is carried out, with -verbose: `Cloning source volume 536870912 ... done`.

    If it fails, what is said is `failed`; without that the error is whoever's this is in.
    """
    session.output.part(text)
    with step(session, failed, explained=explained) if failed else nullcontext():
        yield
    session.output.part(" done\n")


def nobody_listens(session: Session) -> None:
    """The standard output has failed: what is still said of an operation on it goes nowhere, but for complaints, so
    that nothing keeps it from being taken back.
    """
    session.output = replace(session.output, out=StringIO())


def refuse(session: Session, text: str, code: int) -> OperationFailed:
    """What to raise where the operation cannot go on for a reason of its own; the text is said."""
    session.output.complain(text)
    return OperationFailed(code, text)


@contextmanager
def explained(session: Session) -> Iterator[None]:
    """Around a whole operation: if it fails, the last thing said is what the code means."""
    try:
        yield
    except OperationFailed as failure:
        session.output.complain(error_text(failure.code))
        raise
