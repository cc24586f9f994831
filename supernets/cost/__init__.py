"""What an architecture costs: MACs, parameters, time on this machine."""
