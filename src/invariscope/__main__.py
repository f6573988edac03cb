"""`python -m invariscope` runs the command line."""

from invariscope.cli import main

if __name__ == "__main__":
    main()
