"""The twistd plugin `afs-cell`."""

from twisted.application.service import ServiceMaker

cell = ServiceMaker(
    "txafs cell", "afs.cell.tap", "A whole AFS cell in one process: vlserver and fileservers.", "afs-cell"
)
