"""Inputs into sequences, logits into answers; one file a head kind; pure."""
