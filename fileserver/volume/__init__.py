"""Volumes as the fileserver and the volume server see them: states, users, vnodes, and who has which volume."""
