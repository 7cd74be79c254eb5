"""GenEval: objects, their numbers, colours and places, by a detector."""
