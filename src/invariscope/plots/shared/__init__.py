"""What the plots have in common: the protocol, the colours, the labels, the two drawing back ends."""
