"""The networks: supernets, their subnets, relaxed networks, and the parts they are made of."""
