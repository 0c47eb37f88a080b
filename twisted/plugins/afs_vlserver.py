"""twistd's afs-vlserver command."""

from twisted.application.service import ServiceMaker

vlserver = ServiceMaker("afs-vlserver", "vlserver.tap", "AFS volume location server", "afs-vlserver")
