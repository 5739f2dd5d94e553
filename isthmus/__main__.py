"""``python -m isthmus``: the command line, where its script is not on the path."""

from isthmus.cli.main import console

if __name__ == "__main__":
    console()
