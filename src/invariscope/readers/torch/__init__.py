"""Read PyTorch modules: trial forward passes show what can be read, and hooks read it."""
