"""Sweep over architectures of transformers, timm and PyTorch Geometric, compared with plain hooks."""
