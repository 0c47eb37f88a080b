"""Several servers called as one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from afs.errors import UbikError, VLError
from afs.failover import AnyServer
from afs.rpc.vl import VL
from rx.constants import RxCode
from rx.errors import Abort, CallLost, RxError


class Fake:
    """A server that answers with its number, or fails."""

    def __init__(self, problem: RxError | None = None) -> None:
        self.problem = problem
        self.calls = 0

    def call(self, operation: Any, arguments: tuple[Any, ...], timeout: float | None) -> Awaitable[Any]:
        """Counted."""
        return self._call()

    async def _call(self) -> int:
        self.calls += 1
        if self.problem is not None:
            raise self.problem
        return 7


class AnyServerTests(SynchronousTestCase):
    """Which server is asked."""

    def ask(self, *servers: Fake, times: int = 1) -> Any:
        """The answer to the last of several calls."""
        vl = VL.client(AnyServer([lambda server=server: server for server in servers]))  # type: ignore[misc]
        for _ in range(times - 1):
            self.successResultOf(Deferred.fromCoroutine(vl.GetNewVolumeId(1)))
        return Deferred.fromCoroutine(vl.GetNewVolumeId(1))

    def test_next(self) -> None:
        """A silent one and one that cannot write are passed over, and not asked again."""
        silent, unable = Fake(CallLost(RxCode.RX_CALL_DEAD)), Fake(Abort(UbikError.UNOTSYNC))
        well = Fake()
        self.assertEqual(self.successResultOf(self.ask(silent, unable, well, times=3)), 7)
        self.assertEqual((silent.calls, unable.calls, well.calls), (1, 1, 3))

    def test_refusal(self) -> None:
        """A refusal is the answer; nobody else is asked."""
        refusing, other = Fake(Abort(VLError.VL_NOENT)), Fake()
        failure = self.failureResultOf(self.ask(refusing, other), Abort)
        self.assertEqual((failure.value.code, other.calls), (VLError.VL_NOENT, 0))

    def test_all_silent(self) -> None:
        """Each is asked once, and the last one's silence is ours."""
        servers = [Fake(CallLost(RxCode.RX_CALL_DEAD)) for _ in range(3)]
        self.failureResultOf(self.ask(*servers), CallLost)
        self.assertEqual([server.calls for server in servers], [1, 1, 1])

    def test_back_again(self) -> None:
        """One that was silent is asked again when the others are."""
        first, second = Fake(CallLost(RxCode.RX_CALL_DEAD)), Fake()
        vl = VL.client(AnyServer([lambda: first, lambda: second]))
        self.successResultOf(Deferred.fromCoroutine(vl.GetNewVolumeId(1)))
        first.problem, second.problem = None, CallLost(RxCode.RX_CALL_DEAD)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(vl.GetNewVolumeId(1))), 7)
