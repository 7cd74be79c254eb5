"""What a run shows: the tables of all evaluations, the figure, pictures before and after. No torch."""
