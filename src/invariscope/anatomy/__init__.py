"""Where a model's units lie in the image, what they see, and how gradients pass through its layers."""
