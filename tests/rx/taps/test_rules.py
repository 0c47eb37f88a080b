"""rx.taps.rules: the language of fault scripts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rx.taps.packets import Names
from rx.taps.rules import ACTIONS, Action, BadScript, Called, Rule, Vocabulary, first_of, parse
from tests.rx.example import Example


def code(name: str) -> int:
    if name != "VBUSY":
        raise ValueError(f"{name}: no error of this name")
    return 110


WORDS = Vocabulary(Names(served=(Example,)), code)
CALL = Called(("192.0.2.7", 7001), 77, "Example", 2, "Add")


def rule(text: str) -> Rule:
    (only,) = parse(text, "script", WORDS)
    return only


class Reading(SynchronousTestCase):
    def test_script(self) -> None:
        """Blank lines and comments are nothing; every action with the arguments it takes is a rule."""
        lines = [
            ("drop", Action.DROP, None),
            ("duplicate", Action.DUPLICATE, 1),
            ("duplicate 3", Action.DUPLICATE, 3),
            ("delay 0.5", Action.DELAY, 0.5),
            ("reorder", Action.REORDER, None),
            ("corrupt", Action.CORRUPT, None),
            ("corrupt 28", Action.CORRUPT, 28),
            ("answer VBUSY", Action.ANSWER, 110),
            ("answer -3", Action.ANSWER, -3),
            ("hold", Action.HOLD, None),
            ("hold 20", Action.HOLD, 20),
        ]
        script = "# title\n\n" + "".join(f"  {text}   # why\n" for text, _, _ in lines)
        self.assertEqual([(each.text, each.action, each.argument) for each in parse(script, "script", WORDS)], lines)
        self.assertEqual({action for _, action, _ in lines}, {form.action for form in ACTIONS.values()})

    def test_mistakes(self) -> None:
        """What is no rule is refused with its file, line and what is wrong."""
        for text, said in {
            "lose": "an action is one of drop, ",
            "drop 3": "one argument too many",
            "delay": "needs an argument: seconds",
            "delay soon": "could not convert",
            "delay -1": "not between",
            "delay nan": "not between",
            "duplicate 1000": "not between 1 and 100",
            "corrupt 70000": "not between",
            "answer": "needs an argument",
            "answer VBUSYY": "no error of this name",
            "hold 5 direction=in": "a condition of hold is one of peer, service",
            "drop direction=up": "in or out",
            "drop type=DATUM": "one of DATA, ACK",
            "drop service=fs": "neither a number nor the name",
            "drop opcode=FetchBits": "neither a number nor the name",
            "drop peer=example.org": "example.org",
            "drop peer=10.0.0.1/8": "host bits",
            "drop nth=0": "counted from 1",
            "drop nth=3-2": "counted from 1",
            "drop nth=x": "invalid literal",
            "drop probability=2": "not between 0 and 1",
            "drop colour=red": "a condition of drop is one of direction, ",
        }.items():
            with self.assertRaises(BadScript) as refused:
                parse(f"drop\n{text}\n", "a.faults", WORDS)
            self.assertIn("a.faults:2: ", str(refused.exception), text)
            self.assertIn(said, str(refused.exception), text)


class Matching(SynchronousTestCase):
    def matches(self, text: str, **changes: Any) -> bool:
        return rule(text).applies(replace(CALL, **changes))

    def test_conditions(self) -> None:
        """Each condition tells what it is for from what it is not."""
        others: dict[str, dict[str, Any]] = {
            "drop direction=in": {"incoming": False},
            "drop type=ACK,DATA": {"type": 4},
            "drop peer=192.0.2.0/24": {"peer": ("192.0.3.7", 7001)},
            "drop peer=192.0.2.7:7001": {"peer": ("192.0.2.7", 7002)},
            "drop service=Example": {"service": "", "service_id": 78},
            "drop service=77": {"service": "", "service_id": 78},
            "drop opcode=Add,Fetch": {"operation": "Store", "opcode": 8},
            "drop opcode=2": {"operation": "", "opcode": 3},
            "drop opcode=Add": {"operation": "", "opcode": None},
        }
        for text, other in others.items():
            self.assertTrue(self.matches(text), text)
            self.assertFalse(self.matches(text, **other), text)

    def test_nth(self) -> None:
        """nth counts what the other conditions let through: one, a range, or from one on."""
        for text, expected in {"nth=2": [2], "nth=2-3": [2, 3], "nth=4-": [4, 5, 6], "": [1, 2, 3, 4, 5, 6]}.items():
            counted = rule(f"drop opcode=Add {text}")
            applied = []
            for number in range(1, 7):
                self.assertFalse(counted.applies(replace(CALL, opcode=3, operation="Divide")))
                if counted.applies(CALL):
                    applied.append(number)
            self.assertEqual(applied, expected, text)

    def test_probability(self) -> None:
        """A probability is one, and the same seed gives the same choices."""
        chosen = [[each.applies(CALL) for _ in range(2000)] for each in map(rule, ["drop probability=0.3 seed=7"] * 2)]
        self.assertEqual(chosen[0], chosen[1])
        self.assertTrue(500 < sum(chosen[0]) < 700)
        other = rule("drop probability=0.3 seed=8")
        self.assertNotEqual([other.applies(CALL) for _ in range(2000)], chosen[0])
        self.assertFalse(rule("drop probability=0").applies(CALL))

    def test_the_first_decides(self) -> None:
        """Of two rules that apply the first is taken, and both have counted the packet."""
        rules = parse("drop nth=2\ncorrupt opcode=Add nth=2-3\n", "script", WORDS)
        decided = [first_of(rules, CALL) for _ in range(4)]
        self.assertEqual([each and each.action for each in decided], [None, Action.DROP, Action.CORRUPT, None])
