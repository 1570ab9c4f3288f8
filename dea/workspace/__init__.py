"""The developer's machine: the logic behind the Invoke tasks, packaging and the sandbox. Never part of a Lambda package.

`tasks.py` is a docstring and one call into a module here for each task. Importing this package imports none of them.
"""
