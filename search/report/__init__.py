"""What searches found, as pages, pictures and a verdict."""
