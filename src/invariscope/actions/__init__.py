"""What the elements of a transform should do to the responses of a layer."""
