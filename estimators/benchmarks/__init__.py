"""Tables of architectures whose accuracy is known."""
