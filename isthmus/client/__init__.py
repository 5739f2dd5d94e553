"""The verbs of a space over HTTP: the same names, arguments, results and errors."""
