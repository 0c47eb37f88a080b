"""The volumes of one partition: known by their ids from the names of its header files, objects from first use on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fileserver.interfaces import IPartition
from fileserver.volume.fsa import VolumeState
from fileserver.volume.gate import Gate
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.volume import Volume


class Known:
    """Volume by id. One that was never asked for costs its place in a dict, and is PREATTACHED when it is."""

    def __init__(self, partition: IPartition, surroundings: Surroundings, ids: Iterable[int]) -> None:
        self.partition = partition
        self.gate = Gate()
        self.hidden: set[int] = set()
        """Read-write volumes that another partition has too, and serves: two may differ."""
        self._surroundings = surroundings
        self._volumes: dict[int, Volume | None] = dict.fromkeys(ids)

    def __len__(self) -> int:
        return len(self._volumes)

    def __contains__(self, volume_id: int) -> bool:
        return volume_id in self._volumes

    def __iter__(self) -> Iterator[int]:
        """The ids."""
        return iter(self._volumes)

    def __delitem__(self, volume_id: int) -> None:
        del self._volumes[volume_id]
        self.hidden.discard(volume_id)

    def get(self, volume_id: int) -> Volume | None:
        """The volume, None where there is none of that id."""
        volume = self._volumes.get(volume_id)
        if volume is None and volume_id in self._volumes:
            volume = self._volumes[volume_id] = self._new(volume_id, VolumeState.PREATTACHED)
        return volume

    def add(self, volume_id: int, state: VolumeState) -> Volume:
        """One that was not here before."""
        assert volume_id not in self._volumes, volume_id
        volume = self._volumes[volume_id] = self._new(volume_id, state)
        return volume

    def used(self) -> list[Volume]:
        """Those that were asked for since the server started: all that are attached, and any other state but
        PREATTACHED.
        """
        return [volume for volume in self._volumes.values() if volume is not None]

    def _new(self, volume_id: int, state: VolumeState) -> Volume:
        return Volume(volume_id, self.partition, self._surroundings, state)
