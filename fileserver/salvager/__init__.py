"""Repairs the volume groups of a partition, in a process of its own: `python -m fileserver.salvager PARTITION`.

A group is read whole (`inventory`, `infos`, `indexes`, `directories`), made consistent in memory (`tree`, `links`), and
only then changed on the disk (`commit`). So a dry run is the same without the last step, and a salvage that was killed
is done again from what it left. `process` is the fileserver's end; nothing else here imports Twisted.
"""
