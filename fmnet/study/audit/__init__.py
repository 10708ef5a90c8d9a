"""What besides brain activity could explain a result."""
