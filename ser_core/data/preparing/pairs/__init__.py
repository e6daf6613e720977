"""From the rows of all files to usable pairs: read, checked, kept on disk."""
