"""What can go wrong with a call, one exception for each thing a caller can do something about."""

from __future__ import annotations

from rx.constants import RxCode, RxgenCode


class RxError(Exception):
    """Base of every error a call may end with. `code` is the number that travels or would travel in an ABORT."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code = int(code)
        self.message = message

    def __str__(self) -> str:
        text = f"{type(self).__name__} {self.code}{code_name(self.code)}"
        return f"{text}: {self.message}" if self.message else text


class Abort(RxError):
    """The call was refused, by the peer or by us, with this code."""


class CallLost(RxError):
    """No answer: the peer fell silent, the time allowed was over, or the local end closed. The outcome is unknown."""


class ProtocolViolation(RxError):
    """The peer broke the Rx protocol on this call; it was told RX_PROTOCOL_ERROR."""


def code_name(code: int) -> str:
    """` (NAME)` for the codes of Rx and rxgen themselves, else the empty string."""
    for table in (RxCode, RxgenCode):
        if code in table._value2member_map_:
            return f" ({table(code).name})"
    return ""
