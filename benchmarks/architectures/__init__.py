"""Architectures of transformers, timm and PyTorch Geometric, each measured and compared with plain hooks."""
