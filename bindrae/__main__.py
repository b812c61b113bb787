"""``python -m bindrae``: the command line, for launchers that start a module, such as torchrun."""

from bindrae.cli import main

if __name__ == "__main__":
    main()
