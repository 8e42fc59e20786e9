"""Programs to learn from, which send trainings to an endpoint and follow them."""
