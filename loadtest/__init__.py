"""Load tester: XTREME-R traces replayed in an open loop, and what the answers and times say."""
