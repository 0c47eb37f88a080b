"""The fileserver: RXAFS and AFSVol over vice partitions that are mounted, served and handed over."""
