"""The RPC interfaces, one service a file: wire types first, then the Service declared once for both sides."""
