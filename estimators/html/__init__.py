"""What pages of reports are made of."""
