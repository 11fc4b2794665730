"""Pictures with labels: rendered heads."""
