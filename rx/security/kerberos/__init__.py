"""As much of Kerberos as rxkad needs: tickets, the enctypes they are sealed with, and session keys made from them.

Pure: bytes in, values out. Nothing here asks a KDC for anything.
"""
