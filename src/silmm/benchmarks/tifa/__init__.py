"""TIFA: questions with answers to choose from."""
