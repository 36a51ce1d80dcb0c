"""`snapstone check`: checks all that an installation holds, and repairs what it can."""
