"""What a run stands on: files and their locks, devices, processes, signals, checked values."""
