"""What every part of the library uses: names, draws, checks, wording."""
