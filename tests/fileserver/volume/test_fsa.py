"""The volume automaton's table, walked whole."""

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from fileserver.volume.fsa import (
    ERROR_STATES,
    EXCLUSIVE,
    GOING_AWAY,
    MOVES,
    OFFLINE_STATES,
    REFUSAL,
    Automaton,
    Event,
    IllegalMove,
    VolumeState,
)
from tests.fileserver.volume.arcs import DRAWN, NOT_TAKEN

UNUSED = {VolumeState.VNODE_GET}
"""A state OpenAFS kept for older code (volume.h); nothing moves there."""


class Table(SynchronousTestCase):
    def test_numbers(self) -> None:
        """States have OpenAFS's numbers, without a gap."""
        self.assertEqual(sorted(VolumeState), list(range(24)))
        self.assertEqual(VolumeState.SALVSYNC_REQ, 12)
        self.assertEqual(VolumeState.SCANNING_RXCALLS, 22)

    def test_every_state_is_reachable(self) -> None:
        """From UNATTACHED, where a volume begins, some row of events leads to every state in use."""
        reached = {VolumeState.UNATTACHED}
        todo = [VolumeState.UNATTACHED]
        while todo:
            for new in MOVES[todo.pop()].values():
                if new not in reached:
                    reached.add(new)
                    todo.append(new)
        self.assertEqual(set(VolumeState) - reached, UNUSED)

    def test_the_picture(self) -> None:
        """Every arc that OpenAFS draws is a move here, but for a short list of others taken for a reason."""
        moves = {(old, new) for old, after in MOVES.items() for new in after.values()}
        self.assertEqual({arc for arc in DRAWN if arc not in moves}, set(NOT_TAKEN))
        for (old, _), instead in NOT_TAKEN.items():
            self.assertIn((old, instead), moves)

    def test_several_moves_are_one(self) -> None:
        """Who waits sees only where several moves sent together end; one that is refused ends the row there."""
        automaton = Automaton(VolumeState.OFFLINING)
        result = ensureDeferred(automaton.settled())
        automaton.send(Event.OFFLINE_OK, Event.PREATTACH)
        self.assertEqual(self.successResultOf(result), VolumeState.PREATTACHED)

    def test_every_state_is_left(self) -> None:
        """No volume is stuck: from every state in use some row of events leads to UNATTACHED or FREED."""
        for start in set(VolumeState) - UNUSED:
            seen, todo = {start}, [start]
            while todo:
                for new in MOVES[todo.pop()].values():
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)
            self.assertTrue(seen & {VolumeState.UNATTACHED, VolumeState.FREED}, start)

    def test_every_pair_moves_or_is_refused(self) -> None:
        """Each (state, event) either leads where the table says, or raises and changes nothing."""
        for state in VolumeState:
            for event in Event:
                automaton = Automaton(state)
                expected = MOVES.get(state, {}).get(event)
                if expected is None:
                    self.assertRaises(IllegalMove, automaton.send, event)
                    self.assertEqual(automaton.state, state)
                else:
                    automaton.send(event)
                    self.assertEqual(automaton.state, expected)

    def test_every_event_is_used(self) -> None:
        """No event is declared that no state knows."""
        self.assertEqual(set(Event), {event for moves in MOVES.values() for event in moves})

    def test_exclusive_states_end(self) -> None:
        """An exclusive state is a step of some flow: it has a way out."""
        for state in EXCLUSIVE - UNUSED:
            self.assertTrue(MOVES[state], state)

    def test_an_answer_in_every_state_that_does_not_serve(self) -> None:
        """A client meets either a serving state, one that settles, or one with an answer."""
        serving = {VolumeState.ATTACHED, VolumeState.PREATTACHED}
        self.assertEqual(set(VolumeState) - EXCLUSIVE - serving, set(REFUSAL))
        self.assertTrue(set(REFUSAL) >= (ERROR_STATES | OFFLINE_STATES | GOING_AWAY))


class Waiting(SynchronousTestCase):
    def test_settled_at_once(self) -> None:
        """In a settled state there is nothing to wait for."""
        result = ensureDeferred(Automaton(VolumeState.ATTACHED).settled())
        self.assertEqual(self.successResultOf(result), VolumeState.ATTACHED)

    def test_settled_later(self) -> None:
        """Whoever comes in an exclusive state continues at the first settled one."""
        automaton = Automaton(VolumeState.PREATTACHED)
        automaton.send(Event.DEMAND)
        result = ensureDeferred(automaton.settled())
        automaton.send(Event.READ_HEADER_FILE)
        automaton.send(Event.RESUME_ATTACH)
        self.assertNoResult(result)
        automaton.send(Event.ATTACH_OK)
        self.assertEqual(self.successResultOf(result), VolumeState.ATTACHED)

    def test_a_cancelled_waiter_is_forgotten(self) -> None:
        """Giving up while waiting leaves nothing behind, and does not disturb the next move."""
        automaton = Automaton(VolumeState.ATTACHING)
        waiter = automaton.changed()
        waiter.cancel()
        self.failureResultOf(waiter)
        automaton.send(Event.ATTACH_OK)
        self.assertEqual(automaton.state, VolumeState.ATTACHED)

    def test_watchers_see_every_move(self) -> None:
        """A watcher is told old state, event and new state."""
        seen: list[tuple[VolumeState, Event, VolumeState]] = []
        automaton = Automaton(VolumeState.UNATTACHED, lambda _, *move: seen.append(move))
        automaton.send(Event.PREATTACH)
        self.assertRaises(IllegalMove, automaton.send, Event.DRAINED)
        self.assertEqual(seen, [(VolumeState.UNATTACHED, Event.PREATTACH, VolumeState.PREATTACHED)])
