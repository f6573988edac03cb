"""Compare the library with plain hooks on many architectures of transformers, timm and PyTorch Geometric."""
