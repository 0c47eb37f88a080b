"""What pyproject.toml cannot say: what is built in C.

fcrypt's C form is built where there is a compiler and left out where not. The modules of COMPILED are the hot paths of
small calls; they are Python, and stay so unless TXAFS_COMPILED is set: then mypyc makes C of them, for which mypy,
mypy-zope and a compiler must be there (docs/decisions/0014-compiled.md).
"""

import os

from setuptools import Extension, setup

COMPILED = [
    "rx/aborts.py",
    "rx/admission.py",
    "rx/call.py",
    "rx/call_input.py",
    "rx/call_output.py",
    "rx/call_timers.py",
    "rx/connection.py",
    "rx/connection_input.py",
    "rx/connections.py",
    "rx/conversation.py",
    "rx/dispatch.py",
    "rx/endpoint.py",
    "rx/handshake.py",
    "rx/jumbo.py",
    "rx/keepalive.py",
    "rx/output.py",
    "rx/pace.py",
    "rx/pathmtu.py",
    "rx/peer.py",
    "rx/pending.py",
    "rx/quota.py",
    "rx/receiver.py",
    "rx/rtt.py",
    "rx/sender.py",
    "rx/server.py",
    "rx/statistics.py",
    "rx/streams.py",
    "rx/timers.py",
    "rx/turns.py",
    "rx/udp.py",
    "rx/window.py",
    "rx/wire.py",
]

extensions = [
    Extension(
        "rx.security._fcrypt",
        ["rx/security/_fcrypt.c"],
        extra_compile_args=["-O3"],
        py_limited_api=True,
        optional=True,
    )
]
if os.environ.get("TXAFS_COMPILED"):
    from mypyc.build import mypycify

    extensions += mypycify(COMPILED, group_name="txafs")

setup(ext_modules=extensions)
