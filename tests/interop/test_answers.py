"""The checker of who answered finds two servers at a time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.answers import Answer, Answers, Change


class AnswersTests(SynchronousTestCase):
    """The partition is at a, moved to b at 10, which answers first from 11 to 12, and taken by a when b died, at 20."""

    def setUp(self) -> None:
        self.answers = Answers(
            [Change("a", 0.0), Change("b", 10.0), Change("a", 20.5, died=20.0)],
            [Answer("a", 1.0, 2.0), Answer("b", 11.0, 12.0), Answer("a", 22.0, 23.0)],
        )

    def with_one(self, server: str, begun: float, ended: float) -> int:
        """How many problems there are with one more answer."""
        self.answers.answers.append(Answer(server, begun, ended))
        return len(self.answers.problems())

    def test_explained(self) -> None:
        """What was asked before the next one was heard may be answered late, by who was alive."""
        self.assertEqual(self.answers.unseen(), [])
        for server, begun, ended in (("a", 10.5, 11.5), ("a", 11.9, 30.0), ("b", 12.0, 13.0), ("b", 19.0, 24.0)):
            self.assertEqual(self.with_one(server, begun, ended), 0)

    def test_two_at_a_time(self) -> None:
        """What was asked of the old one after the new one had answered."""
        self.assertEqual(self.with_one("a", 12.1, 12.2), 1)
        self.assertEqual(self.with_one("c", 12.1, 12.2), 2)

    def test_back_from_the_dead(self) -> None:
        """What was asked of a dead server, and answered when it was back."""
        self.assertEqual(self.with_one("b", 20.1, 20.2), 0)  # it died a little later
        self.assertEqual(self.with_one("b", 20.6, 30.0), 1)

    def test_never_heard(self) -> None:
        """An owner that was not heard proves nothing, and is told."""
        self.answers.changes.append(Change("b", 40.0))
        self.assertEqual(self.answers.unseen(), [self.answers.changes[-1]])
