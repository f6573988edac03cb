"""Compare the library with plain hooks on models with inputs of their own kind, such as texts."""
