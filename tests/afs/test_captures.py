"""What real OpenAFS programs sent, through the declared types and back to the same bytes."""

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from afs.rpc.cb import RXAFSCB
from afs.rpc.fs import RXAFS
from afs.rpc.pr import PR
from afs.rpc.ubik import VOTE
from afs.rpc.vl import VL
from afs.rpc.volser import AFSVol
from rx.service import Operation, Service
from tests.support.captures import VECTORS, CapturedCall, captured_calls

FILESERVER_PORT = 7000
SERVICES: dict[tuple[int, int], type[Service]] = {
    (7003, 52): VL,
    (7003, 50): VOTE,
    (7002, 73): PR,
    (7000, 1): RXAFS,
    (7005, 4): AFSVol,
}

EXPECTED = {
    "AFSVol": """Clone CreateVolume DeleteVolume Dump EndTrans Forward ForwardMultiple GetName GetStatus ListOneVolume
        ListVolumes Monitor PartitionInfo64 Restore SetDate SetFlags SetForwarding SetIdsTypes SetInfo TransCreate
        XListPartitions""",
    "PR": "NameToID",
    "RXAFS": """CreateFile FetchData FetchData64 FetchStatus GetCapabilities GiveUpCallBacks InlineBulkStatus Link
        MakeDir RemoveDir RemoveFile Rename StoreData64 StoreStatus Symlink""",
    "RXAFSCB": "CallBack InitCallBackState3 TellMeAboutYourself",
    "VL": """CreateEntryN DeleteEntry GetAddrsU GetEntryByIDN GetEntryByNameN GetEntryByNameU GetNewVolumeId
        ListAttributesN2 RegisterAddrs ReplaceEntryN SetLock""",
    "VOTE": "XDebug",
}
"""The RPCs whose request and reply the captures have whole."""


class CaptureTests(SynchronousTestCase):
    """Requests and replies of Debian's OpenAFS 1.8.9."""

    def test_round_trip(self) -> None:
        """Every call that was not encrypted decodes to the last byte, and encodes to the same bytes."""
        seen: Counter[tuple[str, str]] = Counter()
        for path in sorted(VECTORS.glob("*.pcap")):
            for call in captured_calls(path):
                operation = self.operation(call)
                if operation is None or call.request is None:
                    continue
                where = f"{path.name}: {operation.name}"
                self.round_trip_request(operation, call.request, where)
                if call.reply is not None:
                    self.round_trip_reply(operation, call.reply, where)
                    seen[SERVICES_BY_OPERATION[operation], operation.name] += 1
        for name, operations in EXPECTED.items():
            for operation_name in operations.split():
                self.assertGreater(seen[name, operation_name], 0, f"{name}.{operation_name} is in no capture")

    def operation(self, call: CapturedCall) -> Operation | None:
        service = SERVICES.get((call.server[1], call.service_id))
        if call.client[1] == FILESERVER_PORT and call.service_id == RXAFSCB.service_id:
            service = RXAFSCB
        encrypted = service is PR and call.security_index != 0
        if service is None or encrypted or call.request is None:
            return None
        return service.operations[int.from_bytes(call.request[:4], "big")]

    def round_trip_request(self, operation: Operation, request: bytes, where: str) -> None:
        arguments, end = operation.decode_request(request)
        self.assertEqual(operation.encode_request(arguments), request[:end], where)
        streams = operation.stream is not None and not operation.stream.to_client
        if not streams:
            self.assertEqual(end, len(request), where)

    def round_trip_reply(self, operation: Operation, reply: bytes, where: str) -> None:
        stream = operation.stream
        if stream is not None and stream.to_client:
            if stream.framing.count is None:
                return
            (length,) = stream.framing.count.unpack_from(reply)
            reply = reply[stream.framing.count.size + length :]
        self.assertEqual(operation.encode_reply(operation.decode_reply(reply)), reply, where)


class MeaningTests(SynchronousTestCase):
    """The values that the captured commands printed."""

    def reply(self, path: str, service: type[Service], name: str) -> Any:
        """What the first call of that name was answered."""
        (operation,) = [each for each in service.operations.values() if each.name == name]
        for call in captured_calls(VECTORS / path):
            wanted = call.request is not None and call.request[:4] == operation.opcode.to_bytes(4, "big")
            if wanted and SERVICES.get((call.server[1], call.service_id)) is service and call.reply:
                return operation.decode_reply(call.reply)
        raise AssertionError(f"no {name} in {path}")

    def test_entry(self) -> None:
        """A volume entry says what `vos examine user.alice` printed."""
        entry = self.reply("02-vos-examine-noauth.pcap", VL, "GetEntryByNameN")
        self.assertEqual((entry.name, entry.volumeId[0], entry.nServers), (b"user.alice", 536870926, 1))
        self.assertEqual((entry.serverNumber[0], entry.serverPartition[0]), (0x0A4D000B, 0))

    def test_volume(self) -> None:
        """A volume's information is one entry with its name and id."""
        (volume,) = self.reply("02-vos-examine-noauth.pcap", AFSVol, "ListOneVolume")
        self.assertEqual((volume.name, volume.volid, volume.inUse), (b"user.alice", 536870926, 1))

    def test_server_addresses(self) -> None:
        """A file server's UUID leads to its address."""
        _, _, count, addresses = self.reply("20-fuse-start-cold-read.pcap", VL, "GetAddrsU")
        self.assertEqual(count, 1)
        self.assertIn(addresses, [(0x0A4D000B,), (0x0A4D000C,)])


ALL_SERVICES: list[type[Service]] = [*SERVICES.values(), RXAFSCB]
SERVICES_BY_OPERATION = {
    operation: service.__name__ for service in ALL_SERVICES for operation in service.operations.values()
}
