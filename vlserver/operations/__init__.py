"""The VLDB's meaning, RPC by RPC, as functions of a transaction.

They raise Abort with the code a stock vlserver answers (vlprocs.c); a write that raises leaves nothing behind.
"""
