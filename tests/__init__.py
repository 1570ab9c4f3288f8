"""The tests: a folder for each part of `dea`, then the whole way of an event in `end_to_end`."""
