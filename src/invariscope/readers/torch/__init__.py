"""Read PyTorch modules: trial forwards give a plan, and hooks carry it out."""
