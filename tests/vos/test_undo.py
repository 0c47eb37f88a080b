"""Steps that are taken back."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from rx.errors import Abort
from vos.errors import OperationFailed
from vos.options import Options
from vos.output import Output
from vos.undo import Undo

VNOVOL, VBUSY = 103, 110


class Undoing(TestCase):
    """A stack of steps, of which some fail."""

    def setUp(self) -> None:
        self.done: list[str] = []
        self.err = io.StringIO()
        self.undo = Undo(Output(io.StringIO(), self.err))

    def step(self, name: str, code: int = 0) -> Callable[[], Awaitable[None]]:
        """One that notes that it was carried out, and fails with a code if there is one."""

        async def act() -> None:
            self.done.append(name)
            if code:
                raise Abort(code)

        return act

    def fill(self, undo: Undo, *, failing: int = 0) -> None:
        """An end, something made, another end, another thing made."""
        undo.finally_(self.step("unlock"), left="the lock", remedy="vos unlock 1")
        undo.add(self.step("delete", failing), left="volume 2", remedy="vos zap a b 2", failed="Could not delete it")
        undo.finally_(self.step("end"), left="transaction 3", remedy="vos endtrans a 3")
        undo.add(self.step("restore"), left="the flags", remedy="vos online a b 1")

    async def test_success(self) -> None:
        """What was made stays, and the ends are made, the last begun first."""
        async with self.undo as undo:
            self.fill(undo)
        self.assertEqual((self.done, self.err.getvalue()), (["end", "unlock"], ""))

    async def test_failure(self) -> None:
        """Everything is taken back, the last first, and the error goes on."""
        with self.assertRaises(Abort) as caught:
            async with self.undo as undo:
                self.fill(undo)
                raise Abort(VBUSY)
        self.assertEqual(caught.exception.code, VBUSY)
        self.assertEqual((self.done, self.err.getvalue()), (["restore", "end", "delete", "unlock"], ""))

    async def test_kept(self) -> None:
        """After the point of no return a failure takes nothing back."""
        with self.assertRaises(Abort):
            async with self.undo as undo:
                self.fill(undo)
                undo.keep()
                raise Abort(VBUSY)
        self.assertEqual(self.done, ["end", "unlock"])

    async def test_done_early(self) -> None:
        """A step that was carried out or forgotten is not carried out again."""
        async with self.undo as undo:
            first = undo.finally_(self.step("first"), left="", remedy="")
            second = undo.finally_(self.step("second"), left="", remedy="")
            await undo.now(first)
            undo.forget(second)
        self.assertEqual(self.done, ["first"])

    async def test_not_taken_back(self) -> None:
        """What fails to be taken back is told, with the command that does it; the others are taken back."""
        with self.assertRaises(Abort) as caught:
            async with self.undo as undo:
                self.fill(undo, failing=VNOVOL)
                raise Abort(VBUSY)
        self.assertEqual(caught.exception.code, VBUSY)
        self.assertEqual(self.done, ["restore", "end", "delete", "unlock"])
        self.assertEqual(
            self.err.getvalue(),
            "Could not delete it\nVolume not attached, does not exist, or not on line\n"
            "vos: left as it is: volume 2\nvos: go on with: vos zap a b 2\n",
        )

    async def test_same_cell_and_caller(self) -> None:
        """The command that goes on is meant for the cell, and by the caller, that the session is."""
        said = Options(cell="b.example", localauth=True, config=Path("/a b"), verbose=True).repeated()
        self.assertEqual((said, Options().repeated()), (" -cell b.example -config '/a b' -localauth", ""))
        undo = Undo(Output(io.StringIO(), self.err, switches=said))
        with self.assertRaises(Abort):
            async with undo:
                undo.note(left="an entry", remedy="vos delentry 1")
                raise Abort(VBUSY)
        self.assertTrue(self.err.getvalue().endswith(f"go on with: vos delentry 1{said}\n"))

    async def test_end_fails(self) -> None:
        """An end that fails fails the operation."""
        with self.assertRaises(OperationFailed) as caught:
            async with self.undo as undo:
                undo.finally_(self.step("unlock", VNOVOL), left="the lock", remedy="vos unlock 1", failed="No")
        self.assertEqual((caught.exception.code, caught.exception.text), (VNOVOL, "No"))
        self.assertIn("go on with: vos unlock 1\n", self.err.getvalue())

    async def test_interrupted(self) -> None:
        """An interrupt takes everything back and says so; a second one leaves the rest, and says what it is."""
        begun: Deferred[None] = Deferred()
        hung: Deferred[None] = Deferred()

        async def hang() -> None:
            self.done.append("hang")
            hung.callback(None)
            await Deferred()

        async def work() -> None:
            async with self.undo as undo:
                self.fill(undo)
                undo.add(hang, left="a clone", remedy="vos zap a b 4")
                undo.add(self.step("note"), left="a note", remedy="vos nothing")
                begun.callback(None)
                await Deferred()

        running = Deferred.fromCoroutine(work())
        await begun
        running.cancel()
        await hung
        running.cancel()
        with self.assertRaises(CancelledError):
            await running
        self.assertEqual(self.done, ["note", "hang"])
        remedies = [line.split(": ")[-1] for line in self.err.getvalue().splitlines() if "go on with" in line]
        self.assertEqual(
            remedies,
            ["vos zap a b 4", "vos online a b 1", "vos endtrans a 3", "vos zap a b 2", "vos unlock 1"],
        )
        self.assertTrue(self.err.getvalue().startswith("vos: interrupted: taking back what was begun"))
