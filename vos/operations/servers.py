"""File servers, as the VLDB and their volume servers know them."""

from __future__ import annotations

from vos.operations import addresses, busy
from vos.operations.subject import Subject


class Servers(Subject):
    """See the module. What each verb does is said where it is defined."""

    find = addresses.find
    registrations = addresses.registrations
    register = addresses.register
    change_address = addresses.change_address
    remove_address = addresses.remove_address
    transactions = busy.transactions
    end_transaction = busy.end_transaction
    partitions = busy.partitions
    volumes = busy.volumes
