"""twistd's afs-fileserver command."""

from twisted.application.service import ServiceMaker

fileserver = ServiceMaker("afs-fileserver", "fileserver.tap", "AFS fileserver and volume server", "afs-fileserver")
