"""Where the units of a model stand, what they see, and how gradients pass through its layers."""
