"""The contents of the library by name: listings, and expressions that users type."""
