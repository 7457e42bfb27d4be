"""Files: complete or absent, held while they are worked on, growing line by line, of typed content."""
