"""Weight-sharing supernets: spaces, networks, training, extraction, export."""
