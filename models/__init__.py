"""What is served: encoders, heads, tokenizers and the checkpoints that they come from."""
