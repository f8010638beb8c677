"""Waiting sequences into packed batches, and what a batch costs; pure."""
