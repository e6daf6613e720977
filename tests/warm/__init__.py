"""One parent of many processes of a session, whose imports they share."""
