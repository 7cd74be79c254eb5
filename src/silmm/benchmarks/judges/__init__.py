"""Models that look at pictures for a benchmark: one small file each, from plain wheels, behind one interface a role."""
