"""The main job on a real file system, step by step, as somebody new to the project would want to see it."""
