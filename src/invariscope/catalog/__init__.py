"""What the library has, by name: expressions that users type, and listings."""
