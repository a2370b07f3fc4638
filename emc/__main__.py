"""`python -m emc` is the command `emc`."""

from emc.cli.main import main

if __name__ == "__main__":
    main(prog_name="emc")
