"""What verbs are methods of."""

from __future__ import annotations

from vos.session import Session


class Subject:
    """Something in a cell that can be worked on, as a session sees it."""

    def __init__(self, session: Session) -> None:
        self.session = session
