"""Advisory locks as OpenAFS's HandleLocking keeps them in the vnode."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import Vnode
from fileserver.locks import LEASE_SECONDS, LockType, extend_lock, held, lock_type, release_lock, set_lock
from rx.errors import Abort

NOW = 1_700_000_000.5
READ, WRITE = LockType.READ, LockType.WRITE


class Locks(SynchronousTestCase):
    def setUp(self) -> None:
        self.vnode = Vnode(1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0)

    def refused(self, code: int, act: Callable[[], object]) -> None:
        self.assertEqual(self.assertRaises(Abort, act).code, code)

    def test_readers_share(self) -> None:
        """Read locks count; a write lock waits for the last."""
        set_lock(self.vnode, READ, NOW)
        set_lock(self.vnode, READ, NOW)
        self.assertEqual(held(self.vnode, NOW), 2)
        self.refused(errno.EAGAIN, lambda: set_lock(self.vnode, WRITE, NOW))
        self.assertFalse(release_lock(self.vnode))
        self.assertTrue(release_lock(self.vnode))
        set_lock(self.vnode, WRITE, NOW)
        self.assertEqual(held(self.vnode, NOW), -1)

    def test_a_writer_is_alone(self) -> None:
        """Nobody gets a lock beside it."""
        set_lock(self.vnode, WRITE, NOW)
        for kind in LockType:
            self.refused(errno.EAGAIN, lambda kind=kind: set_lock(self.vnode, kind, NOW + LEASE_SECONDS))  # type: ignore[misc]
        self.assertTrue(release_lock(self.vnode))

    def test_the_lease_ends(self) -> None:
        """After 300 s without extension the lock is nobody's; an extension counts from when it is made."""
        set_lock(self.vnode, WRITE, NOW)
        extend_lock(self.vnode, NOW + 200)
        self.assertEqual(held(self.vnode, NOW + 500), -1)
        self.assertEqual(held(self.vnode, NOW + 501), 0)
        set_lock(self.vnode, READ, NOW + 501)
        self.assertEqual(self.vnode.lock_count, 1)

    def test_without_a_lock(self) -> None:
        """There is nothing to extend; releasing succeeds and says that nobody has one."""
        self.refused(errno.EINVAL, lambda: extend_lock(self.vnode, NOW))
        self.assertTrue(release_lock(self.vnode))
        self.assertEqual((self.vnode.lock_count, self.vnode.lock_time), (0, 0))

    def test_types(self) -> None:
        """A client may name 0 and 1."""
        self.assertEqual([lock_type(0), lock_type(1)], [READ, WRITE])
        for number in (-1, 2, 3, 99):
            self.refused(errno.EINVAL, lambda number=number: lock_type(number))  # type: ignore[misc]
