"""Interfaces that several AFS programs share."""

from collections.abc import Sequence

from zope.interface import Interface


class INames(Interface):
    """Users and groups: names <-> ids, as the protection server or the built-in groups know them."""

    async def names_to_ids(names: Sequence[bytes]) -> list[int]:
        """The id of each name, case ignored; ANONYMOUSID (32766) for one that is unknown.

        Raises Abort or CallLost when the protection server cannot say.
        """

    async def ids_to_names(ids: Sequence[int]) -> list[bytes]:
        """The name of each id; the decimal id for one that is unknown. Raises as `names_to_ids`."""

    async def groups(user_id: int) -> tuple[int, ...]:
        """The user's current protection subdomain (CPS): all ids whose rights the user has, sorted, with its own.

        Raises as `names_to_ids`.
        """

    async def host_groups(address: str) -> tuple[int, ...]:
        """All ids whose rights everybody has who calls from this IPv4 address, sorted: groups that the address or a
        network around it is in (host CPS). Raises as `names_to_ids`.
        """
