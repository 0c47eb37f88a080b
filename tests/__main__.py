"""Runs the tests with trial and ends with what was skipped and why: `python -m tests [NAME...]`, by default all.

The last line, `N passed, N failed, N skipped`, is for programs. `TXAFS_NO_SKIP=PREFIX` makes a skipped test whose name
starts so a failure of the run.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from typing import Any

from twisted.trial import reporter, runner


class ClosingReporter(reporter.TreeReporter):
    """trial's tree, then the skips by reason, then one line of numbers."""

    def done(self) -> None:
        """Called by the runner after the last test."""
        super().done()
        reasons: dict[str, list[str]] = defaultdict(list)
        for test, reason in self.skips:
            reasons[str(reason).strip()].append(test.id())
        self._writeln("%s", f"{len(self.skips)} skipped" + (":" if reasons else ""))
        for reason, names in sorted(reasons.items()):
            self._writeln("%s", f"  {len(names)} because {reason}: {names[0]}{' ...' if len(names) > 1 else ''}")
        failed = len(self.failures) + len(self.errors) + len(self.unexpectedSuccesses)
        self._writeln("%s", f"{self.successes} passed, {failed} failed, {len(self.skips)} skipped")


def main(names: list[str]) -> int:
    """Run the named tests; the exit status."""
    suite = runner.TestLoader().loadByNames(names or ["tests"], recurse=True)
    reporters: list[ClosingReporter] = []

    def make_reporter(*arguments: Any, **options: Any) -> ClosingReporter:
        reporters.append(ClosingReporter(*arguments, **options))
        return reporters[-1]

    runner.TrialRunner(make_reporter, workingDirectory="_trial_temp").run(suite)
    (result,) = reporters
    forbidden = os.environ.get("TXAFS_NO_SKIP")
    skipped = [test.id() for test, _reason in result.skips if forbidden and test.id().startswith(forbidden)]
    for name in skipped:
        print(f"skipped, which TXAFS_NO_SKIP={forbidden} forbids: {name}")
    return 0 if result.wasSuccessful() and result.testsRun and not skipped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
