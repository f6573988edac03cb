"""Statistics: mergeable sums over blocks of whole orbits. They depend on arrays only."""
