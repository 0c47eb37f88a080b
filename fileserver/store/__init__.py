"""Storage back ends: one file each behind IPartition."""
