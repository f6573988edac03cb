"""Questions with a result of their own, each asked by a function."""
