"""The VLRU's queues and passes, against what OpenAFS documents of them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from fileserver.volume.vlru import Queue, Vlru, VlruSettings
from tests.support.budget import budget

T = 7200
START = 1_000_000


@dataclass(eq=False)
class Thing:
    last_get: int = START


def anything(thing: Thing) -> bool:
    return True


def nothing(thing: Thing) -> bool:
    return False


class Intervals(SynchronousTestCase):
    def test_defaults(self) -> None:
        """The intervals that follow from the options are OpenAFS's."""
        settings = VlruSettings()
        self.assertEqual((settings.threshold, settings.interval, settings.most), (T, 120, 8))
        self.assertEqual(settings.promotion(Queue.NEW), 2 * T)
        self.assertEqual(settings.promotion(Queue.MID), 4 * T)
        self.assertEqual(settings.scan(Queue.NEW), 900)
        self.assertEqual(settings.scan(Queue.CANDIDATE), 120)

    def test_short_threshold(self) -> None:
        """With a threshold of at most 16 intervals NEW is looked at every second interval."""
        self.assertEqual(VlruSettings(threshold=1600, interval=100).scan(Queue.NEW), 200)
        self.assertEqual(VlruSettings(threshold=1700, interval=100).scan(Queue.NEW), 1700 // 8)


class Passes(SynchronousTestCase):
    def test_idle_is_chosen(self) -> None:
        """A volume that nobody uses becomes a candidate after the threshold, and is chosen in the next pass."""
        vlru: Vlru[Thing] = Vlru(now=START)
        thing = Thing()
        vlru.add(thing, START)
        self.assertEqual(vlru.turn(START + T + 60 + 899, anything), [])
        self.assertEqual(vlru.queue(thing), Queue.NEW)
        self.assertEqual(vlru.turn(START + T + 60 + 899 + 120, anything), [thing])

    def test_not_before_the_first_scan(self) -> None:
        """However idle, nothing is chosen within the first threshold and a minute."""
        vlru: Vlru[Thing] = Vlru(now=START)
        vlru.add(Thing(0), START)
        for now in range(START, START + T + 60, 60):
            self.assertEqual(vlru.turn(now, anything), [])

    def test_candidates_that_are_used_stay(self) -> None:
        """A candidate that is used again is new."""
        vlru: Vlru[Thing] = Vlru(now=START)
        thing = Thing()
        vlru.add(thing, START)
        now = START + T + 60 + 900
        self.assertEqual(vlru.turn(now, nothing), [])
        self.assertEqual(vlru.queue(thing), Queue.CANDIDATE)
        thing.last_get = now + 1
        self.assertEqual(vlru.turn(now + 120, anything), [])
        self.assertEqual(vlru.queue(thing), Queue.NEW)

    def test_at_most_so_many(self) -> None:
        """One pass chooses eight; those in use never."""
        vlru: Vlru[Thing] = Vlru(now=START)
        things = [Thing() for _ in range(20)]
        for thing in things:
            vlru.add(thing, START)
        used = set(things[:5])
        found = vlru.turn(START + T + 60 + 900, lambda thing: thing not in used)
        self.assertEqual(len(found), 8)
        self.assertFalse(used & set(found))

    def test_disabled(self) -> None:
        """Without a VLRU nothing is ever chosen for being idle, but room is made."""
        vlru: Vlru[Thing] = Vlru(VlruSettings(enabled=False), START)
        thing = Thing()
        vlru.add(thing, START)
        for now in range(START, START + 20 * T, 120):
            self.assertEqual(vlru.turn(now, anything), [])
        self.assertEqual(vlru.oldest(1, anything), [thing])

    def test_generations(self) -> None:
        """A volume in steady use goes NEW, MID, OLD, and back down when it is left alone, until it is chosen."""
        vlru: Vlru[Thing] = Vlru(now=START)
        thing = Thing()
        vlru.add(thing, START)
        seen: list[Queue] = []
        chosen = False
        for now in range(START, START + 60 * T, 120):
            if now < START + 20 * T:
                thing.last_get = now
            chosen = chosen or vlru.turn(now, anything) == [thing]
            if seen[-1:] != [vlru.queue(thing)]:
                seen.append(vlru.queue(thing))
        self.assertEqual(seen, [Queue.NEW, Queue.MID, Queue.OLD, Queue.MID, Queue.NEW, Queue.CANDIDATE])
        self.assertTrue(chosen)

    def test_held(self) -> None:
        """A volume that is being detached is not chosen again, and is new when that failed."""
        vlru: Vlru[Thing] = Vlru(now=START)
        thing = Thing()
        vlru.add(thing, START)
        vlru.hold(thing)
        now = START + 10 * T
        self.assertEqual((vlru.turn(now, anything), vlru.oldest(1, anything)), ([], []))
        vlru.release(thing, now)
        self.assertEqual(vlru.queue(thing), Queue.NEW)
        vlru.remove(thing)
        vlru.remove(thing)
        self.assertEqual((len(vlru), vlru.queue(thing)), (0, Queue.INVALID))

    def test_oldest(self) -> None:
        """Room is made by those unused for longest, whatever their queue."""
        vlru: Vlru[Thing] = Vlru(now=START)
        things = [Thing(START + number) for number in range(10)]
        for thing in reversed(things):
            vlru.add(thing, START)
        self.assertEqual(vlru.oldest(3, lambda thing: thing is not things[1]), [things[0], things[2], things[3]])

    def test_anything_goes(self) -> None:
        """Whatever happens, each volume is on one queue, and only idle ones are chosen."""
        spent = budget("fileserver.vlru", full=1000)
        random = Random(spent.seed)
        for _ in range(spent.count):
            vlru: Vlru[Thing] = Vlru(VlruSettings(threshold=100, interval=7), START)
            known: list[Thing] = []
            now = START
            for _ in range(200):
                now += random.randrange(30)
                act = random.randrange(4)
                if act == 0 or not known:
                    known.append(Thing(now))
                    vlru.add(known[-1], now)
                elif act == 1:
                    vlru.remove(known.pop(random.randrange(len(known))))
                elif act == 2:
                    random.choice(known).last_get = now
                else:
                    for thing in vlru.turn(now, anything):
                        self.assertLessEqual(thing.last_get, now - 100)
                        vlru.remove(thing)
                        known.remove(thing)
                self.assertEqual(sum(vlru.lengths()), len(known))
                self.assertEqual(set(vlru), set(known))
