"""What searching and refining cost, and whether the verdict is right, on real pairs and their wrong partners."""
