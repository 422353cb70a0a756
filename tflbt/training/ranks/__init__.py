"""What makes a training in parts, on several ranks, equal to that of the whole batch, or refuses it."""
