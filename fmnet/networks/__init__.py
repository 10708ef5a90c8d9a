"""3D networks, from MONAI."""
