"""A whole cell in one process: the servers' own plugins, run over one directory, and the first volumes made in it.

The servers are found by the names of their twistd plugins, so nothing here imports them.
"""
