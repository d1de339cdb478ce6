"""What each function does, in terms of ports that the adapters fill."""
