"""XDR (RFC 4506) as rxgen uses it: values <-> bytes. No I/O, no AFS.

`codec` has the scalars and composites, `struct` the `@struct` records, `layout` turns fixed construct layouts into
fast ones.
"""

from xdr.codec import (
    Bool,
    Char,
    CharVector,
    Codec,
    Fixed,
    FixedOpaque,
    Int32,
    Int64,
    Opaque,
    Short,
    String,
    Truncated,
    UChar,
    UInt32,
    UInt64,
    UShort,
    XdrError,
    codec,
)
from xdr.composite import Array, FixedArray, Pointer, Union
from xdr.struct import Struct, sequence, struct

__all__ = [
    "Array",
    "Bool",
    "Char",
    "CharVector",
    "Codec",
    "Fixed",
    "FixedArray",
    "FixedOpaque",
    "Int32",
    "Int64",
    "Opaque",
    "Pointer",
    "Short",
    "String",
    "Struct",
    "Truncated",
    "UChar",
    "UInt32",
    "UInt64",
    "UShort",
    "Union",
    "XdrError",
    "codec",
    "sequence",
    "struct",
]
