"""What OpenAFS's picture of the volume automaton says (doc/txt/dafs-fsa.dot of 1.8.9), as facts: from, to.

Its two ATTACHED nodes (with and without users) are one state here and in volume.h; its loops to the same state are
waits. `Exclusive_vol_op_executing` is no state of volume.h but a volume utility at work, which has it UNATTACHED.
"""

from fileserver.volume.fsa import VolumeState as S

DRAWN = (
    (S.OFFLINING, S.UNATTACHED),
    (S.UNATTACHED, S.FREED),
    (S.UNATTACHED, S.PREATTACHED),
    (S.PREATTACHED, S.UNATTACHED),
    (S.ERROR, S.PREATTACHED),
    (S.PREATTACHED, S.FREED),
    (S.PREATTACHED, S.ATTACHING),
    (S.SALVAGING, S.PREATTACHED),
    (S.DETACHING, S.FREED),
    (S.SHUTTING_DOWN, S.DETACHING),
    (S.ATTACHED, S.SHUTTING_DOWN),
    (S.DETACHING, S.UPDATING),
    (S.UPDATING, S.DETACHING),
    (S.OFFLINING, S.UPDATING),
    (S.UPDATING, S.OFFLINING),
    (S.GOING_OFFLINE, S.OFFLINING),
    (S.UPDATING, S.SALVAGE_REQ),
    (S.UPDATING, S.ATTACHING),
    (S.ATTACHING, S.UPDATING),
    (S.ATTACHED, S.GOING_OFFLINE),
    (S.ATTACHED, S.SALVAGE_REQ),
    (S.GET_BITMAP, S.ATTACHING),
    (S.ATTACHING, S.GET_BITMAP),
    (S.GET_BITMAP, S.SALVAGE_REQ),
    (S.HDR_LOADING, S.SALVAGE_REQ),
    (S.HDR_LOADING, S.ATTACHING),
    (S.HDR_LOADING, S.ATTACHED),
    (S.SALVAGE_REQ, S.SALVAGING),
    (S.SALVAGE_REQ, S.ERROR),
    (S.HDR_ATTACHING, S.HDR_LOADING),
    (S.HDR_ATTACHING, S.ATTACHED),
    (S.ATTACHING, S.HDR_ATTACHING),
    (S.ATTACHING, S.ATTACHED),
    (S.ATTACHING, S.SALVAGE_REQ),
    (S.ATTACHED, S.HDR_ATTACHING),
)

NOT_TAKEN = {
    # A volume without users has nothing to drain: volume.c takes it to SALVAGING at once, as VRequestSalvage_r does.
    (S.ATTACHING, S.SALVAGE_REQ): S.SALVAGING,
    (S.HDR_LOADING, S.SALVAGE_REQ): S.SALVAGING,
    # With users to drain it is closed on the way: volume.c's VOffline between the two, which the picture leaves out.
    (S.SALVAGE_REQ, S.SALVAGING): S.OFFLINING,
}
"""Arcs of the picture that are not ours, each with where we go instead."""
