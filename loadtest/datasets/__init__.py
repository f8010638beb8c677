"""The ten tasks of XTREME-R as a table, and one reader a file format."""
