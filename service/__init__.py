"""HTTP in, answers out: XLM-R variants behind padding-free dynamic batching."""
