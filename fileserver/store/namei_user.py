"""The namei-user back end: the namei layout without root, owner and mode values kept beside the data.

A stock server would take such a partition for a damaged one, so it carries NeverAttach, and its label tells it from
namei.
"""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID, uuid4

from fileserver.interfaces import WrongBackend
from fileserver.partitions.label import Label, write_atomically
from fileserver.store.metadata import AttributeMetadata, SidecarMetadata, has_user_attributes
from fileserver.store.namei import ALONE, NameiPartition, Tenancy

BACKEND = "namei-user"
NEVER_ATTACH = "NeverAttach"
ALWAYS_ATTACH = "AlwaysAttach"


def open_namei_user(
    path: str, number: int, reactor: Any, metadata: str | None = None, tenancy: Tenancy = ALONE
) -> NameiPartition:
    """Open or begin a partition; `metadata` forces the keeper of a new one ("xattr" or "sidecar").

    Raises WrongBackend, Damaged, OSError (EBUSY: another process has it).
    """
    label = Label.read(path)
    if label is None:
        label = begin_namei_user(path, metadata=metadata)
    elif label.backend == BACKEND:
        forbid_stock(path)
    return NameiPartition(path, number, label, reactor, BACKEND, tenancy)


def begin_namei_user(path: str, uuid: UUID | None = None, metadata: str | None = None) -> Label:
    """Give an empty directory its label; `metadata` as for `open_namei_user`. Raises WrongBackend, OSError."""
    refuse_stock(path)
    keeper = metadata or (AttributeMetadata.name if has_user_attributes(path) else SidecarMetadata.name)
    label = Label(uuid or uuid4(), BACKEND, keeper)
    forbid_stock(path)
    label.write(path)
    return label


def refuse_stock(path: str) -> None:
    """Raises WrongBackend when a partition without a label has volumes: a stock server wrote them."""
    if any(name.startswith("V") and name.endswith(".vol") for name in os.listdir(path)):
        raise WrongBackend(f"{path} holds volumes of a namei partition")


def forbid_stock(path: str) -> None:
    """Make stock servers leave the partition alone. Raises WrongBackend where AlwaysAttach would overrule that."""
    if os.path.exists(os.path.join(path, ALWAYS_ATTACH)):
        raise WrongBackend(
            f"{path}/{ALWAYS_ATTACH} makes stock servers attach a partition only this back end can serve"
        )
    never_attach = os.path.join(path, NEVER_ATTACH)
    if not os.path.exists(never_attach):
        write_atomically(never_attach, b"")
