"""Reading PyTorch modules: from trial forwards to a plan, from the plan to hooks."""
