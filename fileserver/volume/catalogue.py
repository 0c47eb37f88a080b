"""Which volumes this server has, by partition and id. Nothing here waits."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from fileserver.interfaces import IPartition
from fileserver.volume.gate import Gate
from fileserver.volume.known import Known
from fileserver.volume.volume import Volume


class Catalogue:
    """See the module. A vacated partition is not in it any more, but calls for its volumes still wait."""

    def __init__(self) -> None:
        self._partitions: dict[int, IPartition] = {}
        self._volumes: dict[int, Known] = {}  # by partition number
        self._vacated: list[Known] = []

    def partitions(self) -> list[IPartition]:
        """In the order of their numbers."""
        return [self._partitions[number] for number in sorted(self._partitions)]

    def partition(self, number: int) -> IPartition | None:
        return self._partitions.get(number)

    def volumes(self, partition: IPartition | None = None) -> Iterator[Volume]:
        """All volumes, or those of one partition. For whoever wants to know of each: those nobody used cost memory from
        then on.
        """
        for number in sorted(self._volumes) if partition is None else [partition.number]:
            known = self._volumes[number]
            for volume_id in list(known):
                if (volume := known.get(volume_id)) is not None:
                    yield volume

    def has(self, number: int, volume_id: int) -> bool:
        """Whether a partition has a volume; the volume itself stays untouched."""
        return volume_id in self._volumes[number]

    def used(self, number: int) -> list[Volume]:
        """The volumes of a partition that were asked for since it was mounted."""
        return self._volumes[number].used()

    def count(self, number: int) -> int:
        """How many volumes a partition has."""
        return len(self._volumes[number])

    def ids(self, partition: IPartition) -> list[int]:
        """The ids of a partition's volumes, ascending."""
        return sorted(self._volumes[partition.number])

    def where(self, volume_id: int) -> UUID | None:
        """The partition that has it, the volume itself untouched."""
        for known in self._volumes.values():
            if volume_id in known:
                return known.partition.uuid
        return None

    def find(self, volume_id: int, partition: int | None = None) -> Volume | None:
        """By id, on the partition of that number, or the one that clients get: where several partitions have it, that
        of the first.
        """
        if partition is not None:
            known = self._volumes.get(partition)
            return None if known is None else known.get(volume_id)
        for known in self._volumes.values():
            if (volume := known.get(volume_id)) is not None and volume_id not in known.hidden:
                return volume
        return None

    def _gate(self, volume_id: int) -> Gate | None:
        """That of a vacated partition with such a volume."""
        return next((known.gate for known in self._vacated if volume_id in known), None)

    def _members(self, partition: IPartition, group: int) -> list[Volume]:
        return [volume for volume in self._volumes[partition.number].used() if volume.parent == group]
