"""Packed batches in, logits out; one thread owns the device."""
