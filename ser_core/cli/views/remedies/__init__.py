"""What `ser why` says of each reason: its cause and what to do."""
