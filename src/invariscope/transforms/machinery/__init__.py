"""Building blocks of the transforms."""
