"""HTTP: one file a protocol, and what the protocols share."""
