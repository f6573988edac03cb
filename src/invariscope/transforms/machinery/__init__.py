"""What the families of transforms are built from."""
