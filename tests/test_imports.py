"""The import arrow of the architecture, read from the source: xdr <- rx <- afs <- vlserver, fileserver, vos <-
plugins.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "xdr": {"xdr"},
    "rx": {"xdr", "rx"},
    "afs": {"xdr", "rx", "afs"},
    "vlserver": {"xdr", "rx", "afs", "vlserver"},
    "fileserver": {"xdr", "rx", "afs", "fileserver"},
    "vos": {"xdr", "rx", "afs", "vos"},
    "twisted/plugins": {"xdr", "rx", "afs", "vlserver", "fileserver", "vos"},
}
"""Which of our packages each may import."""

OURS = {"xdr", "rx", "afs", "vlserver", "fileserver", "vos", "tests"}

TWISTED_IN_RX = {
    "rx/transport.py",
    "rx/conversation.py",
    "rx/clock.py",
    "rx/client.py",
    "rx/server.py",
    "rx/steps.py",
    "rx/taps/faults.py",
}
"""The driver, and the tap that holds calls. The engine, security and services know no reactor."""

IMPURE = {"time", "socket", "random", "select", "asyncio", "threading", "os"}
"""What the engine does not import: bytes and the time go in. `random.Random` as the type of an argument is all right.
"""

IMPURE_IN_RX = {*TWISTED_IN_RX, "rx/udp.py", "rx/interfaces.py", "rx/pace.py", "rx/taps/recording.py"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every absolute import of a file, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def sources(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield str(path.relative_to(ROOT)), path


class Arrow(SynchronousTestCase):
    """Left never imports right."""

    def test_arrow(self) -> None:
        """No package imports one to its right, and the three programs do not import each other."""
        wrong = [
            f"{name}:{line}: {package} -> {module}"
            for package, allowed in MAY_IMPORT.items()
            for name, path in sources(package)
            for line, module in imports(path)
            if module.split(".")[0] in OURS - allowed
        ]
        self.assertEqual(wrong, [])

    def test_twisted(self) -> None:
        """xdr imports no Twisted at all, rx only where TWISTED_IN_RX says."""
        wrong = [
            f"{name}:{line}: {module}"
            for package in ("xdr", "rx")
            for name, path in sources(package)
            for line, module in imports(path)
            if module.split(".")[0] == "twisted" and name not in TWISTED_IN_RX
        ]
        self.assertEqual(wrong, [])

    def test_engine_is_pure(self) -> None:
        """Protocol code imports neither the clock nor the socket nor chance."""
        wrong = [
            f"{name}:{line}: {module}"
            for package in ("xdr", "rx")
            for name, path in sources(package)
            for line, module in imports(path)
            if module.split(".")[0] in IMPURE and module != "random.Random" and name not in IMPURE_IN_RX
        ]
        self.assertEqual(wrong, [])

    def test_checker_sees(self) -> None:
        """The check reads imports inside functions too, and finds files at all."""
        self.assertGreater(len(list(sources("rx"))), 10)
        self.assertIn("rx.client.Connection", [module for _, module in imports(ROOT / "rx" / "transport.py")])
