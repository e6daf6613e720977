"""Which self-labels are trusted, and what is told of them. numpy alone."""
