"""What samples say: percentiles, intervals, verdicts. Values in, values out; no clock, no I/O."""
