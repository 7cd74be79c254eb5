"""Plain English, the language of LMMs whose world is open: what is asked of them, and how their answers are read."""
