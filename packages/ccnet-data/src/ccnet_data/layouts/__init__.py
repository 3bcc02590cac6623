"""How datasets lie on disk, one layout per file."""
