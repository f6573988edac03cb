"""Architectures of transformers, timm and PyTorch Geometric, measured and compared with plain hooks."""
