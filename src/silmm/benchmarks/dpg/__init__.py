"""DPG-Bench, and DSG-1k, whose scheme it follows: yes/no questions that depend on each other."""
