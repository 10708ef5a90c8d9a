"""How well models find a known effect that was planted into backgrounds without any."""
