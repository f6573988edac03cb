"""Numbers in a test suite: assertions about symmetry, and limits that a model's numbers must keep."""
