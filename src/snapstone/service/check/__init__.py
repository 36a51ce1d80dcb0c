"""`snapstone check`: a look at all that an installation holds, and what can be repaired of it."""
