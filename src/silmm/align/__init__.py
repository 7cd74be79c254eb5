"""Step 5: preference losses, cached reference log-probs, and the trainer."""
