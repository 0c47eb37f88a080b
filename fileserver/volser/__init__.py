"""The volume server: AFSVol and its transactions, in the fileserver's own process."""
